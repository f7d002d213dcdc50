// words.h: what a callback of the guest's is told of its call, word by word.
//
// Since V8 14.6 the words are in V8's stack frame, which differs from call to call. There the guest is given words of ours; their
// numbers are also in src/abi/layout.rs (WORDS_OF_UNITS).
#ifndef RELINK_UNIT_WORDS_H_
#define RELINK_UNIT_WORDS_H_

#include "guest.h"

#if RELINK_INTERCEPTORS_ANSWER

namespace relink {

using v8::internal::Address;

// The word that a handle, or a return value, is about.
template <class Handle>
Address* word_of(const Handle& handle) {
  static_assert(sizeof(Handle) == sizeof(Address*), "v8-local-handle.h, v8-function-callback.h");
  return *reinterpret_cast<Address* const*>(&handle);
}

inline Address root(v8::Isolate* isolate, int index) { return v8::internal::Internals::GetRoot(isolate, index); }

// What is kept of the guest's for as long as the isolate lives, and left behind by it: a few words for each template.
template <class Type>
v8::Eternal<Type> keep(v8::Isolate* isolate, v8::Local<Type> handle) {
  return handle.IsEmpty() ? v8::Eternal<Type>() : v8::Eternal<Type>(isolate, handle);
}
inline Address kept(v8::Isolate* isolate, const v8::Eternal<v8::Value>& data) {
  return data.IsEmpty() ? root(isolate, v8::internal::Internals::kUndefinedValueRootIndex)
                        : *word_of(data.Get(isolate));
}

// Words that are handles one behind the other, so that the garbage collector sees them. All are small integers 0 first.
template <int kCount>
class Handles : v8::HandleScope {
 public:
  explicit Handles(v8::Isolate* isolate) : HandleScope(isolate), words_(consecutive(isolate)) {}
  Address& operator[](int index) const { return words_[index]; }
  Address* words() const { return words_; }

 private:
  // Where a block of handles ends the next one begins with the first of another try.
  static Address* consecutive(v8::Isolate* isolate) {
#if !RELINK_HANDLES_OF_ISOLATE
    auto* owner = reinterpret_cast<v8::internal::Isolate*>(isolate);
#else
    v8::Isolate* owner = isolate;
#endif
    const Address zero = v8::internal::Internals::IntegralToSmi(0);
    Address* first = CreateHandle(owner, zero);
    for (int made = 1; made < kCount; made++) {
      Address* next = CreateHandle(owner, zero);
      if (next == first + made) continue;
      first = next;
      made = 0;
    }
    return first;
  }

  Address* words_;
};

#if RELINK_CALLS_IN_FRAME

// v8-function-callback.h: FunctionCallbackInfo, what is called its implicit arguments
enum FunctionWord { kFunctionIsolate, kFunctionReturnValue, kFunctionNewTarget, kFunctionData, kFunctionWords };

// v8-function-callback.h: PropertyCallbackInfo
enum PropertyWord {
  kPropertyShouldThrowOnError,
  kPropertyHolder,
  kPropertyIsolate,
  kPropertyReturnValue,
  kPropertyData,
  kPropertyThis,
  kPropertyWords
};

#else

// They have private names; access is not checked where a template is instantiated explicitly.
template <class Word, int kIndex>
struct Reveal {
  friend constexpr int index_of(Word) { return kIndex; }
};
#define RELINK_REVEAL(name, index)                                             \
  struct name {};                                                              \
  constexpr int index_of(name);                                                \
  template struct Reveal<name, v8::PropertyCallbackInfo<v8::Value>::index>;    \
  constexpr int kProperty##name = index_of(name());
RELINK_REVEAL(This, kThisIndex)
RELINK_REVEAL(Data, kDataIndex)
RELINK_REVEAL(ReturnValue, kReturnValueIndex)
RELINK_REVEAL(Holder, kHolderIndex)
RELINK_REVEAL(Isolate, kIsolateIndex)
#undef RELINK_REVEAL
constexpr int kPropertyWords = 8;
static_assert(sizeof(v8::PropertyCallbackInfo<v8::Value>) == kPropertyWords * sizeof(Address), "v8-function-callback.h");

#endif

}  // namespace relink

#endif

#endif  // RELINK_UNIT_WORDS_H_
