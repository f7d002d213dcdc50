// symbols.h: how the two views of one interface are compared; see v8_abi_check.cc.
#ifndef RELINK_CHECK_SYMBOLS_H_
#define RELINK_CHECK_SYMBOLS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace relink_check {

// One number of the interface: a size, an enumerator, the slot of a virtual function.
struct Number {
  const char* what;
  uint64_t value;
};

// Itanium C++ ABI 2.3: a pointer to a virtual member function holds the offset of its slot: plus one on x86-64, twice
// with the mark in the adjustment on AArch64.
template <class Function>
uint64_t slot(Function function) {
  static_assert(sizeof function == 2 * sizeof(uintptr_t), "pointer to member function");
  uintptr_t words[2];
  std::memcpy(words, &function, sizeof words);
#if defined(__aarch64__)
  return words[0] / sizeof(void*);
#else
  return (words[0] - 1) / sizeof(void*);
#endif
}

template <class Type>
using As = Type;

}  // namespace relink_check

// A definition that needs `function`, which must have exactly the given pointer type.
#define TAKE(n, function, ...)                         \
  extern relink_check::As<__VA_ARGS__> relink_take_##n; \
  relink_check::As<__VA_ARGS__> relink_take_##n = function

#define SIZE(type) \
  relink_check::Number { "sizeof " #type, sizeof(type) }
#define VALUE(enumerator) \
  relink_check::Number { #enumerator, static_cast<uint64_t>(enumerator) }
#define SLOT(type, function) \
  relink_check::Number { #type "::" #function, relink_check::slot(&type::function) }
// One of several functions of the name, or one whose whole type matters.
#define OVERLOAD(type, function, ...) \
  relink_check::Number { #type "::" #function, relink_check::slot(static_cast<__VA_ARGS__>(&type::function)) }

#endif  // RELINK_CHECK_SYMBOLS_H_
