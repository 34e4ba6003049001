/* The least that any collector does: starts the command, reads its output from a pipe and puts as
 * many bytes as iptables_exporter writes into a file, by rename. It understands nothing, so what it
 * costs is the price of being a process that runs another.
 *
 * relay OUTPUT BYTES COMMAND [ARGUMENT...] */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const char* output = argv[1];
  size_t left = strtoull(argv[2], NULL, 10);
  char temporary[4096];
  snprintf(temporary, sizeof temporary, "%s.tmp", output);

  int ends[2];
  posix_spawn_file_actions_t actions;
  pid_t pid;
  char* environment[] = {NULL};
  if (pipe2(ends, O_CLOEXEC) != 0) return 1;
  fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  if (posix_spawn(&pid, argv[3], &actions, NULL, argv + 3, environment) != 0) return 1;
  close(ends[1]);

  size_t size = 0;
  size_t capacity = 0;
  char* text = NULL;
  ssize_t count = 0;
  do {
    size += (size_t)count;
    if (size == capacity) {
      capacity = capacity == 0 ? 1 << 16 : 2 * capacity;
      text = realloc(text, capacity);
      if (text == NULL) return 1;
    }
    count = read(ends[0], text + size, capacity - size);
  } while (count > 0);
  int status = 1;
  waitpid(pid, &status, 0);
  if (count < 0 || size == 0 || status != 0) return 1;

  const int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  while (left > 0) {
    const size_t piece = left < size ? left : size;
    if (write(file, text, piece) != (ssize_t)piece) return 1;
    left -= piece;
  }
  return close(file) != 0 || rename(temporary, output) != 0;
}
