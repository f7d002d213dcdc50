//! The edits for headers of V8 13.6, which Node 24 has.

use super::edits::{once, Edit, BESIDE, INCLUDED, INTERNAL_FIELD, PLACES};

pub(super) static EDITS: [Edit; 12] = [
    INCLUDED,
    INTERNAL_FIELD,
    PLACES,
    BESIDE,
    once(
        "v8-function-callback.h",
        "Local<Value> FunctionCallbackInfo<T>::Data() const {\n",
        "Local<Value> FunctionCallbackInfo<T>::Data() const {\n\
         \x20 if (internal::kRelinkCallbackData >= 0)\n\
         \x20   return Local<Value>::FromSlot(&implicit_args_[internal::kRelinkCallbackData]);\n",
        "since 14.6 adapters tell a callback its data",
    ),
    once(
        "v8-function-callback.h",
        "  mutable internal::Address args_[kArgsLength];\n",
        "  mutable internal::Address args_[8];\n",
        "the length of an array is no word of the table; the guest makes none of these",
    ),
    once(
        "v8-function-callback.h",
        "      I::IntegralToSmi(I::kInferShouldThrowMode)) {\n",
        "      I::IntToSmi(I::kInferShouldThrowMode)) {\n",
        "a word of the table becomes a number by itself only where its type is said",
    ),
    once(
        "v8-function-callback.h",
        " != I::IntegralToSmi(I::kDontThrow);\n",
        " != I::IntToSmi(I::kDontThrow);\n",
        "a word of the table becomes a number by itself only where its type is said",
    ),
    once(
        "v8-primitive.h",
        "    alignas(internal::Internals::\n\
         \x20               kDisallowGarbageCollectionAlign) char no_gc_debug_scope_\n\
         \x20       [internal::Internals::kDisallowGarbageCollectionSize];\n",
        "    alignas(uint32_t) char no_gc_debug_scope_[sizeof(uint32_t)];\n",
        "the length of an array is no word of the table; the gate compares the structure",
    ),
    once(
        "v8-cppgc.h",
        "    if (ref.IsEmptyThreadSafe()) return;\n    Visit(ref);\n",
        "    if (ref.IsEmptyThreadSafe()) return;\n\
         \x20   using Visited = void (*)(JSVisitor*, const TracedReferenceBase&);\n\
         \x20   (*reinterpret_cast<const Visited* const*>(this))[internal::kRelinkTracedSlot](this, ref);\n",
        "14.1 has a virtual function more before this one",
    ),
    once(
        "cppgc/allocation.h",
        "#include \"v8config.h\"  // NOLINT(build/include_directory)\n",
        "#include \"v8-relink-layout.h\"\n#include \"v8config.h\"  // NOLINT(build/include_directory)\n",
        "the layout table",
    ),
    once(
        "cppgc/allocation.h",
        "    value |= api_constants::kFullyConstructedBitMask;\n",
        "    value |= static_cast<uint16_t>(v8::internal::kRelinkConstructedBit);\n",
        "14.6 marks a constructed object by another bit",
    ),
];
