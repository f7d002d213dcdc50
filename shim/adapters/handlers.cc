// handlers.cc: handlers and accessors of properties. Until V8 12.9 those of a guest compiled for 10.2 are V8's own.
#include "guest_10_2.h"
#include "unit.h"

#if RELINK_HOST >= 1209

#include <tuple>

namespace relink {
namespace {

using v8::Eternal;
using v8::External;
using v8::Isolate;
using v8::Local;
using v8::Value;
using v8::internal::Address;
using Internals = v8::internal::Internals;
template <class Any>
using Info = v8::PropertyCallbackInfo<Any>;

Address root(Isolate* isolate, int index) { return Internals::GetRoot(isolate, index); }

// The word that a handle, or a return value, is about.
template <class Handle>
Address* word_of(const Handle& handle) {
  static_assert(sizeof(Handle) == sizeof(Address*), "v8-local-handle.h, v8-function-callback.h");
  return *reinterpret_cast<Address* const*>(&handle);
}

// What is kept of the guest's for as long as the isolate lives, and left behind by it: a few words for each template.
template <class Type>
Eternal<Type> keep(Isolate* isolate, Local<Type> handle) {
  return handle.IsEmpty() ? Eternal<Type>() : Eternal<Type>(isolate, handle);
}
Address kept(Isolate* isolate, const Eternal<Value>& data) {
  return data.IsEmpty() ? root(isolate, Internals::kUndefinedValueRootIndex) : *word_of(data.Get(isolate));
}

// Interceptors. The result says whether they intercept; before, setting a return value did. V8 is given functions of ours, and as
// their data what the guest gave.

template <class Key>
struct Kept {
  guest::PropertyHandlers<Key> guests;
  Eternal<Value> data;
};

// While it lives, a callback has the guest's data.
template <class Key>
class Call {
 public:
  template <class Any>
  explicit Call(const Info<Any>& info)
      : data_(word_of(info.Data())),
        own_(*data_),
        kept_(static_cast<Kept<Key>*>(info.Data().template As<External>()->Value())) {
    *data_ = kept(info.GetIsolate(), kept_->data);
  }
  ~Call() { *data_ = own_; }
  const guest::PropertyHandlers<Key>& guests() const { return kept_->guests; }

 private:
  Address* data_;
  Address own_;
  Kept<Key>* kept_;
};

template <auto kWhich, class Member = decltype(kWhich)>
struct Interceptor;

template <auto kWhich, class Key, class... Arguments>
struct Interceptor<kWhich, void (*guest::PropertyHandlers<Key>::*)(Arguments...)> {
  static v8::Intercepted call(Arguments... arguments) {
    const auto& info = std::get<sizeof...(Arguments) - 1>(std::tie(arguments...));
    Isolate* isolate = info.GetIsolate();
    Address* answer = word_of(info.GetReturnValue());
    const Address preset = *answer;
    *answer = root(isolate, Internals::kTheHoleValueRootIndex);
    {
      Call<Key> call(info);
      (call.guests().*kWhich)(arguments...);
    }
    if (*answer == root(isolate, Internals::kTheHoleValueRootIndex)) {
      *answer = preset;
      return v8::Intercepted::kNo;
    }
    // Those that change something said what is there now, and say now that it went well.
    if constexpr (std::is_same_v<decltype(info), const Info<void>&>) {
      *answer = root(isolate, Internals::kTrueValueRootIndex);
    }
    return v8::Intercepted::kYes;
  }
};

template <class Key>
void enumerate(const Info<v8::Array>& info) {
  Call<Key> call(info);
  call.guests().enumerator(info);
}

template <class Configuration, class Key>
void set_handler(v8::ObjectTemplate* self, const guest::PropertyHandlers<Key>& guests) {
  using Guests = guest::PropertyHandlers<Key>;
  static_assert(sizeof(Guests) == sizeof(Configuration), "v8-template.h");
  Isolate* isolate = Isolate::GetCurrent();
  Configuration own(decltype(Configuration::getter){nullptr});
  if (guests.getter != nullptr) own.getter = Interceptor<&Guests::getter>::call;
  if (guests.setter != nullptr) own.setter = Interceptor<&Guests::setter>::call;
  if (guests.query != nullptr) own.query = Interceptor<&Guests::query>::call;
  if (guests.deleter != nullptr) own.deleter = Interceptor<&Guests::deleter>::call;
  if (guests.enumerator != nullptr) own.enumerator = enumerate<Key>;
  if (guests.definer != nullptr) own.definer = Interceptor<&Guests::definer>::call;
  if (guests.descriptor != nullptr) own.descriptor = Interceptor<&Guests::descriptor>::call;
  own.flags = guest::hosts_flags(guests.flags);
  own.data = External::New(isolate, new Kept<Key>{guests, keep(isolate, guests.data)});
  self->SetHandler(own);
}

// Accessors of templates: V8 has none any more that also serve objects which inherit them, but for pairs of functions.

struct Accessor {
  v8::AccessorNameGetterCallback getter;
  v8::AccessorNameSetterCallback setter;
  Eternal<v8::Name> name;
  Eternal<Value> data;
};

// The words of a property callback have private names; access is not checked where a template is instantiated explicitly.
template <class Word, int kIndex>
struct Reveal {
  friend constexpr int index_of(Word) { return kIndex; }
};
struct Receiver {};
struct Data {};
struct Answer {};
struct Holder {};
struct Itself {};
constexpr int index_of(Receiver);
constexpr int index_of(Data);
constexpr int index_of(Answer);
constexpr int index_of(Holder);
constexpr int index_of(Itself);
template struct Reveal<Receiver, Info<Value>::kThisIndex>;
template struct Reveal<Data, Info<Value>::kDataIndex>;
template struct Reveal<Answer, Info<Value>::kReturnValueIndex>;
template struct Reveal<Holder, Info<Value>::kHolderIndex>;
template struct Reveal<Itself, Info<Value>::kIsolateIndex>;

// The words of a property callback made for the call of a function. They are handles one behind the other, so that the garbage
// collector sees them.
class Words : v8::HandleScope {
 public:
  Words(const v8::FunctionCallbackInfo<Value>& call, const Accessor& accessor)
      : HandleScope(call.GetIsolate()), words_(handles(call.GetIsolate())) {
    Isolate* isolate = call.GetIsolate();
    words_[index_of(Receiver())] = words_[index_of(Holder())] = *word_of(call.This());
    words_[index_of(Data())] = kept(isolate, accessor.data);
    words_[index_of(Answer())] = root(isolate, Internals::kUndefinedValueRootIndex);
    words_[index_of(Itself())] = reinterpret_cast<Address>(isolate);
  }

  template <class Any>
  const Info<Any>& info() const {
    static_assert(sizeof(Info<Any>) == kCount * sizeof(Address), "v8-function-callback.h: the words are in the structure");
    return *reinterpret_cast<const Info<Any>*>(words_);
  }

 private:
  static constexpr int kCount = 8;

  // Small integers 0. Where a block of handles ends the next one begins with the first of another try.
  static Address* handles(Isolate* isolate) {
    auto* internal = reinterpret_cast<v8::internal::Isolate*>(isolate);
    Address* first = CreateHandle(internal, Internals::IntegralToSmi(0));
    for (int made = 1; made < kCount; made++) {
      Address* next = CreateHandle(internal, Internals::IntegralToSmi(0));
      if (next == first + made) continue;
      first = next;
      made = 0;
    }
    return first;
  }

  Address* words_;
};

Accessor* accessor_of(const v8::FunctionCallbackInfo<Value>& call) {
  return static_cast<Accessor*>(call.Data().As<External>()->Value());
}

void get(const v8::FunctionCallbackInfo<Value>& call) {
  Accessor* accessor = accessor_of(call);
  Words words(call, *accessor);
  accessor->getter(accessor->name.Get(call.GetIsolate()), words.info<Value>());
  call.GetReturnValue().Set(words.info<Value>().GetReturnValue().Get());
}

// Without a setter of the guest's an assignment is ignored.
void set(const v8::FunctionCallbackInfo<Value>& call) {
  Accessor* accessor = accessor_of(call);
  if (accessor->setter == nullptr) return;
  Words words(call, *accessor);
  accessor->setter(accessor->name.Get(call.GetIsolate()), call[0], words.info<void>());
}

// Stands for a setter that the guest has not: V8 would make the property one of data and assign to it.
void ignore(Local<v8::Name>, Local<Value>, const Info<void>&) {}

}  // namespace
}  // namespace relink

extern "C" {

RELINK_UNIT_API void relink_unit_named_interceptors(v8::ObjectTemplate* self,
                                                    const guest::PropertyHandlers<v8::Local<v8::Name>>& guests) {
  relink::set_handler<v8::NamedPropertyHandlerConfiguration>(self, guests);
}
RELINK_UNIT_API void relink_unit_indexed_interceptors(v8::ObjectTemplate* self,
                                                      const guest::PropertyHandlers<uint32_t>& guests) {
  relink::set_handler<v8::IndexedPropertyHandlerConfiguration>(self, guests);
}

RELINK_UNIT_API void relink_unit_template_accessor(v8::ObjectTemplate* self, v8::Local<v8::Name> name,
                                                   v8::AccessorNameGetterCallback getter,
                                                   v8::AccessorNameSetterCallback setter, v8::Local<v8::Value> data,
                                                   int, v8::PropertyAttribute attributes,
                                                   v8::SideEffectType getter_effect, v8::SideEffectType setter_effect) {
  using relink::keep;
  v8::Isolate* isolate = v8::Isolate::GetCurrent();
  auto* accessor = new relink::Accessor{getter, setter, keep(isolate, name), keep(isolate, data)};
  v8::Local<v8::Value> kept = v8::External::New(isolate, accessor);
  auto function = [&](v8::FunctionCallback callback, int length, v8::SideEffectType effect) {
    return v8::FunctionTemplate::New(isolate, callback, kept, {}, length, v8::ConstructorBehavior::kThrow, effect);
  };
  v8::Local<v8::FunctionTemplate> set;
  if ((attributes & v8::ReadOnly) == 0) set = function(relink::set, 1, setter_effect);
  const auto others = static_cast<v8::PropertyAttribute>(attributes & ~v8::ReadOnly);
  self->SetAccessorProperty(name, function(relink::get, 0, getter_effect), set, others);
}

// Of one object, which nobody inherits from: there a property that looks like data does.
RELINK_UNIT_API v8::Maybe<bool> relink_unit_object_accessor(v8::Object* self, v8::Local<v8::Context> context,
                                                            v8::Local<v8::Name> name,
                                                            v8::AccessorNameGetterCallback getter,
                                                            v8::AccessorNameSetterCallback setter,
                                                            v8::MaybeLocal<v8::Value> data, int,
                                                            v8::PropertyAttribute attributes,
                                                            v8::SideEffectType getter_effect,
                                                            v8::SideEffectType setter_effect) {
  if (setter == nullptr) setter = relink::ignore;
  return self->SetNativeDataProperty(context, name, getter, setter, data.FromMaybe(v8::Local<v8::Value>()), attributes,
                                     getter_effect, setter_effect);
}

}  // extern "C"

#endif
