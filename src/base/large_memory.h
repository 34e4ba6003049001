#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace iptables_exporter {

/// As operator new, but pieces of 2 MiB and more lie on huge pages where the kernel has them: a
/// large ruleset would else spend more time on page faults than on parsing. The price: where memory
/// is fragmented the kernel may take its time to make some. Throws std::bad_alloc.
void* allocate_memory(std::size_t bytes);

/// Takes back what allocate_memory() gave for as many bytes.
void free_memory(void* memory, std::size_t bytes) noexcept;

struct FreeMemory {
  std::size_t bytes;
  void operator()(char* memory) const noexcept { free_memory(memory, bytes); }
};
using MemoryBlock = std::unique_ptr<char[], FreeMemory>;

/// A block of so many bytes, of any value.
MemoryBlock make_memory_block(std::size_t bytes);

template <typename T>
struct LargeMemoryAllocator {
  using value_type = T;

  LargeMemoryAllocator() = default;
  template <typename Other>
  LargeMemoryAllocator(const LargeMemoryAllocator<Other>&) {}

  T* allocate(std::size_t count) { return static_cast<T*>(allocate_memory(count * sizeof(T))); }
  void deallocate(T* memory, std::size_t count) noexcept { free_memory(memory, count * sizeof(T)); }
  bool operator==(const LargeMemoryAllocator&) const = default;
};

/// For single arrays that grow with the ruleset.
template <typename T>
using LargeVector = std::vector<T, LargeMemoryAllocator<T>>;

}  // namespace iptables_exporter
