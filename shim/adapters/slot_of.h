// slot_of.h: which slot of its class's vtable a virtual function has. Included by bridge, adapter units and their checks.
#ifndef RELINK_SLOT_OF_H_
#define RELINK_SLOT_OF_H_

#include <cstdint>
#include <cstring>

namespace relink {

// Itanium C++ ABI 2.3: a pointer to a virtual member function holds the offset of its slot: plus one on x86-64, alone (the
// mark is in the adjustment) on AArch64.
template <class Function>
uint32_t slot_of(Function function) {
  static_assert(sizeof function == 2 * sizeof(uintptr_t), "pointer to member function");
  uintptr_t words[2];
  std::memcpy(words, &function, sizeof words);
#if defined(__aarch64__)
  return static_cast<uint32_t>(words[0] / sizeof(void*));
#else
  return static_cast<uint32_t>((words[0] - 1) / sizeof(void*));
#endif
}

}  // namespace relink

#endif  // RELINK_SLOT_OF_H_
