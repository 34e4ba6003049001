#pragma once

#include <sys/types.h>

#include "base/file_io.h"
#include "base/signals.h"
#include "collect/kernel_tables.h"
#include "model/source.h"

namespace iptables_exporter {

/// Looks at legacy tables in a process of its own. The kernel has one mutex for those of a family
/// in all network namespaces. Who may make namespaces can have it held for as long as he likes, by
/// a getsockopt(2) into memory that nobody fills. Who then looks is stuck, and SIGKILL does not end
/// him.
class LegacyTablesProcess {
 public:
  /// Starts it: best while there is little memory to be copied.
  LegacyTablesProcess() { start(); }
  LegacyTablesProcess(const LegacyTablesProcess&) = delete;
  LegacyTablesProcess& operator=(const LegacyTablesProcess&) = delete;
  ~LegacyTablesProcess();

  /// What legacy_tables() says. Absent, too, if there is no answer by the deadline or, where that
  /// has come, a moment later. Who did not answer is left behind, and another one asked next time.
  KernelTables ask(Family family, bool with_policies, Clock::time_point deadline);

 private:
  void start();
  KernelTables end();

  pid_t pid_ = -1;
  UniqueFd socket_;
};

}  // namespace iptables_exporter
