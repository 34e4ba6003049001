#pragma once

namespace iptables_exporter {

/// Whether this process is in a network namespace that was made for a purpose: neither the initial
/// one nor, where that can be read, the one of PID 1, which in a container is what the container
/// runs on. False, too, where nobody can tell.
bool is_in_separate_network_namespace();

}  // namespace iptables_exporter
