#include "collect/legacy_tables_process.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>

#include "collect/family.h"

namespace iptables_exporter {
namespace {

struct Question {
  Family family;
  bool with_policies;
};

/// "?", or "!" and a line for each table.
std::string answer_to(const Question& question) {
  const KernelTables tables = legacy_tables(question.family, question.with_policies);
  if (!tables) return "?";
  std::string answer = "!";
  for (const KernelTable& table : *tables) {
    answer += fmt::format("{} {:d} {}\n", table.name, table.filters, table.entries);
  }
  return answer;
}

KernelTables tables_in(std::string_view answer, Family family) {
  if (answer.front() != '!') return std::nullopt;
  KernelTables tables(std::in_place);
  std::istringstream fields{std::string(answer.substr(1))};
  KernelTable table{std::string(facts_of(family).nft_name), ""};
  while (fields >> table.name >> table.filters >> table.entries) tables->push_back(table);
  return tables;
}

[[noreturn]] void answer_questions(int socket) {
  try {
    // If it gets stuck, nobody must wait for it who reads what this program prints.
    ::dup2(socket, STDIN_FILENO);
    ::closefrom(STDIN_FILENO + 1);
    Question question = {};
    while (::read(STDIN_FILENO, &question, sizeof question) == sizeof question) {
      write_all(STDIN_FILENO, answer_to(question), "socket");
    }
  } catch (const std::exception&) {
    // Whoever asked sees that it has ended.
  }
  ::_exit(0);
}

bool is_ready(int fd, short events, Clock::time_point end) {
  std::array<pollfd, 1> polled = {{{fd, events, 0}}};
  return poll_until(polled, end) > 0;
}

}  // namespace

void LegacyTablesProcess::start() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
  socket_ = UniqueFd(ends[0]);
  const UniqueFd other_end(ends[1]);
  pid_ = ::fork();
  if (pid_ == 0) answer_questions(other_end.get());
}

LegacyTablesProcess::~LegacyTablesProcess() { end(); }

KernelTables LegacyTablesProcess::ask(Family family, bool with_policies,
                                      Clock::time_point deadline) {
  if (pid_ < 0) start();
  if (pid_ < 0) return std::nullopt;
  const Question question = {family, with_policies};
  if (::send(socket_.get(), &question, sizeof question, MSG_NOSIGNAL) != sizeof question)
    return end();
  if (!is_ready(socket_.get(), POLLIN, deadline_or_moment(deadline))) return end();
  std::array<char, 1 << 10> answer;  // there are five tables at most
  const ssize_t size = ::read(socket_.get(), answer.data(), answer.size());
  if (size <= 0) return end();
  return tables_in({answer.data(), static_cast<std::size_t>(size)}, family);
}

KernelTables LegacyTablesProcess::end() {
  if (pid_ < 0) return std::nullopt;
  ::kill(pid_, SIGKILL);
  // Once its end is closed, nothing stops it from ending. If it is stuck, init will reap it.
  if (is_ready(socket_.get(), 0, deadline_or_moment({}))) ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
  return std::nullopt;
}

}  // namespace iptables_exporter
