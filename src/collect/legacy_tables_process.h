#pragma once

#include <sys/types.h>

#include "base/file_io.h"
#include "base/signals.h"
#include "collect/kernel_tables.h"
#include "model/source.h"

namespace iptables_exporter {

/// Looks at legacy tables in a process of its own. The kernel has one mutex for those of all
/// network namespaces, and any user can have it held for as long as he likes, by a getsockopt(2)
/// into memory that nobody fills. Whoever then looks is stuck, and not even SIGKILL ends him.
class LegacyTablesProcess {
 public:
  /// Starts it: best while there is little memory to be copied. If it cannot be started, nothing is
  /// known.
  LegacyTablesProcess();
  LegacyTablesProcess(const LegacyTablesProcess&) = delete;
  LegacyTablesProcess& operator=(const LegacyTablesProcess&) = delete;
  ~LegacyTablesProcess();

  /// What legacy_tables() says. Absent, too, if there is no answer by the deadline or, where that
  /// has come, a moment later; nobody is asked again then.
  KernelTables ask(Family family, bool with_policies, Clock::time_point deadline);

 private:
  KernelTables end();

  pid_t pid_ = -1;
  UniqueFd socket_;
};

}  // namespace iptables_exporter
