#include "base/large_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace iptables_exporter {
namespace {

constexpr std::size_t huge_page_bytes = 2 << 20;  // of x86-64, and of arm64 with 4 KiB pages

bool is_large(std::size_t bytes) { return bytes >= huge_page_bytes; }

}  // namespace

void* allocate_memory(std::size_t bytes) {
  if (!is_large(bytes)) return ::operator new(bytes);
  void* const memory = ::operator new(bytes, std::align_val_t(huge_page_bytes));
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // or the pages are small
  return memory;
}

void free_memory(void* memory, std::size_t bytes) noexcept {
  if (is_large(bytes)) {
    ::operator delete(memory, std::align_val_t(huge_page_bytes));
  } else {
    ::operator delete(memory);
  }
}

MemoryBlock make_memory_block(std::size_t bytes) {
  return {static_cast<char*>(allocate_memory(bytes)), FreeMemory{bytes}};
}

}  // namespace iptables_exporter
