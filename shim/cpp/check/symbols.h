// symbols.h: how the two views of one interface are compared; see v8_abi_check.cc.
#ifndef RELINK_CHECK_SYMBOLS_H_
#define RELINK_CHECK_SYMBOLS_H_

#include <cstddef>
#include <cstdint>

#include "../../adapters/slot_of.h"

namespace relink_check {

// One number of the interface: a size, an enumerator, the slot of a virtual function.
struct Number {
  const char* what;
  uint64_t value;
};

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
  relink_check::Number { #type "::" #function, relink::slot_of(&type::function) }
// One of several functions of the name, or one whose whole type matters.
#define OVERLOAD(type, function, ...) \
  relink_check::Number { #type "::" #function, relink::slot_of(static_cast<__VA_ARGS__>(&type::function)) }

#endif  // RELINK_CHECK_SYMBOLS_H_
