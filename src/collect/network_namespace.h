#pragma once

#include <string>

namespace iptables_exporter {

/// Has the process, and the commands it starts, in the network namespace of that name of
/// ip-netns(8) from here on. Nothing is done, and no privilege needed, if they are in it already.
/// CAP_SYS_ADMIN, which this takes, is not handed on to the commands. Throws std::system_error.
void enter_network_namespace(const std::string& name);

}  // namespace iptables_exporter
