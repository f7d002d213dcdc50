// handlers.cc: handlers and accessors of properties. Until V8 12.9 those of an older guest are V8's own.
#include "guest.h"
#include "unit.h"
#include "words.h"

// For Node's own use V8s of Node 18 and 20 have a setter for modules and scripts, which are no values; here a handle is a handle.
extern "C" RELINK_UNIT_API void relink_unit_internal_field(v8::Object* self, int index, v8::Local<v8::Value> data) {
  self->SetInternalField(index, data);
}

#if RELINK_INTERCEPTORS_ANSWER

#include <tuple>
#include <utility>

namespace relink {
namespace {

using v8::Eternal;
using v8::External;
using v8::Isolate;
using v8::Local;
using v8::Value;
using Internals = v8::internal::Internals;
template <class Any>
using Info = v8::PropertyCallbackInfo<Any>;

template <class Kept, class Any>
Kept* kept_of(const Any& info) {
  return static_cast<Kept*>(info.Data().template As<External>()->Value());
}

// A call of V8's as the guest is told of it: with the guest's data. V8 knows what is kept of the guest's as the data.
template <class Any>
class Call {
 public:
#if !RELINK_CALLS_IN_FRAME
  Call(const Info<Any>& info, const Eternal<Value>& data) : info_(info), data_(word_of(info.Data())), own_(*data_) {
    *data_ = kept(info.GetIsolate(), data);
  }
  ~Call() { *data_ = own_; }
  Address& answer() const { return *word_of(info_.GetReturnValue()); }
  const Info<Any>& info() const { return info_; }

 private:
  const Info<Any>& info_;
  Address* data_;
  Address own_;
#else
  Call(const Info<Any>& info, const Eternal<Value>& data)
      : words_(info.GetIsolate()), answer_(word_of(info.GetReturnValue())) {
    Isolate* isolate = info.GetIsolate();
    words_[kPropertyShouldThrowOnError] =
        Internals::IntegralToSmi(info.ShouldThrowOnError() ? Internals::kThrowOnError : Internals::kDontThrow);
    words_[kPropertyThis] = words_[kPropertyHolder] = *word_of(info.HolderV2());
    words_[kPropertyIsolate] = reinterpret_cast<Address>(isolate);
    words_[kPropertyReturnValue] = *answer_;
    words_[kPropertyData] = kept(isolate, data);
  }
  ~Call() { *answer_ = answer(); }
  Address& answer() const { return words_[kPropertyReturnValue]; }
  const Info<Any>& info() const { return *reinterpret_cast<const Info<Any>*>(words_.words()); }

 private:
  Handles<kPropertyWords> words_;
  Address* answer_;
#endif
};

template <class Any>
Call(const Info<Any>&, const Eternal<Value>&) -> Call<Any>;

// Interceptors. The result says whether they intercept; before Node's V8 12.4, setting a return value did. V8 is given functions of
// ours, and as their data what the guest gave.

template <class Key>
struct Kept {
  guest::PropertyHandlers<Key> guests;
  Eternal<Value> data;
};

template <auto kWhich, class Member = decltype(kWhich)>
struct Interceptor;

template <auto kWhich, class Key, class... Arguments>
struct Interceptor<kWhich, guest::Intercepted (*guest::PropertyHandlers<Key>::*)(Arguments...)> {
  static v8::Intercepted call(Arguments... arguments) {
    constexpr size_t kLast = sizeof...(Arguments) - 1;
    auto all = std::tie(arguments...);
    const auto& info = std::get<kLast>(all);
    auto* own = kept_of<Kept<Key>>(info);
    Call call(info, own->data);
    auto guests = [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
      return (own->guests.*kWhich)(std::get<kIndex>(all)..., call.info());
    };
#if RELINK_GUEST >= 1204
    const bool intercepted = guests(std::make_index_sequence<kLast>()) == guest::Intercepted::kYes;
    return intercepted ? v8::Intercepted::kYes : v8::Intercepted::kNo;
#else
    Isolate* isolate = info.GetIsolate();
    const Address preset = call.answer();
    call.answer() = root(isolate, Internals::kTheHoleValueRootIndex);
    guests(std::make_index_sequence<kLast>());
    if (call.answer() == root(isolate, Internals::kTheHoleValueRootIndex)) {
      call.answer() = preset;
      return v8::Intercepted::kNo;
    }
    // Those that change something said what is there now, and say now that it went well.
    if constexpr (std::is_same_v<decltype(info), const Info<void>&>) {
      call.answer() = root(isolate, Internals::kTrueValueRootIndex);
    }
    return v8::Intercepted::kYes;
#endif
  }
};

template <class Key>
void enumerate(const Info<v8::Array>& info) {
  auto* own = kept_of<Kept<Key>>(info);
  own->guests.enumerator(Call(info, own->data).info());
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

// The words of a property callback made for the call of a function.
class Words {
 public:
  Words(const v8::FunctionCallbackInfo<Value>& call, const Accessor& accessor) : words_(call.GetIsolate()) {
    Isolate* isolate = call.GetIsolate();
    words_[kPropertyThis] = words_[kPropertyHolder] = *word_of(call.This());
    words_[kPropertyData] = kept(isolate, accessor.data);
    words_[kPropertyReturnValue] = root(isolate, Internals::kUndefinedValueRootIndex);
    words_[kPropertyIsolate] = reinterpret_cast<Address>(isolate);
  }
  const Address* answer() const { return &words_[kPropertyReturnValue]; }

  template <class Any>
  const Info<Any>& info() const {
    return *reinterpret_cast<const Info<Any>*>(words_.words());
  }

 private:
  Handles<kPropertyWords> words_;
};

void get(const v8::FunctionCallbackInfo<Value>& call) {
  auto* accessor = kept_of<Accessor>(call);
  Words words(call, *accessor);
  accessor->getter(accessor->name.Get(call.GetIsolate()), words.info<Value>());
  *word_of(call.GetReturnValue()) = *words.answer();
}

// Without a setter of the guest's an assignment is ignored.
void set(const v8::FunctionCallbackInfo<Value>& call) {
  auto* accessor = kept_of<Accessor>(call);
  if (accessor->setter == nullptr) return;
  Words words(call, *accessor);
  accessor->setter(accessor->name.Get(call.GetIsolate()), call[0], words.info<void>());
}

// What V8 is given for a property that looks like data.
struct Property {
  v8::AccessorNameGetterCallback getter;
  v8::AccessorNameSetterCallback setter;
  Local<Value> data;
};

#if !RELINK_CALLS_IN_FRAME
Property property(v8::AccessorNameGetterCallback getter, v8::AccessorNameSetterCallback setter, Local<Value> data) {
  return {getter, setter, data};
}
#else
void get_property(Local<v8::Name> name, const Info<Value>& info) {
  auto* accessor = kept_of<Accessor>(info);
  accessor->getter(name, Call(info, accessor->data).info());
}
void set_property(Local<v8::Name> name, Local<Value> value, const Info<void>& info) {
  auto* accessor = kept_of<Accessor>(info);
  accessor->setter(name, value, Call(info, accessor->data).info());
}
Property property(v8::AccessorNameGetterCallback getter, v8::AccessorNameSetterCallback setter, Local<Value> data) {
  Isolate* isolate = Isolate::GetCurrent();
  auto* accessor = new Accessor{getter, setter, {}, keep(isolate, data)};
  return {get_property, setter == nullptr ? nullptr : set_property, External::New(isolate, accessor)};
}
#endif

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

// Who may use it is not asked any more.
RELINK_UNIT_API void relink_unit_native_property(v8::Template* self, v8::Local<v8::Name> name,
                                                 v8::AccessorNameGetterCallback getter,
                                                 v8::AccessorNameSetterCallback setter, v8::Local<v8::Value> data,
                                                 v8::PropertyAttribute attributes, int,
                                                 v8::SideEffectType getter_effect, v8::SideEffectType setter_effect) {
  const auto property = relink::property(getter, setter, data);
  self->SetNativeDataProperty(name, property.getter, property.setter, property.data, attributes, getter_effect,
                              setter_effect);
}

#if RELINK_GUEST >= 1204 && RELINK_CALLS_IN_FRAME

// Properties that look like data, of templates and objects. V8 is given functions of ours, and as their data what the guest gave.

RELINK_UNIT_API void relink_unit_template_property(v8::Template* self, v8::Local<v8::Name> name,
                                                   v8::AccessorNameGetterCallback getter,
                                                   v8::AccessorNameSetterCallback setter, v8::Local<v8::Value> data,
                                                   v8::PropertyAttribute attributes, v8::SideEffectType getter_effect,
                                                   v8::SideEffectType setter_effect) {
  const auto own = relink::property(getter, setter, data);
  self->SetNativeDataProperty(name, own.getter, own.setter, own.data, attributes, getter_effect, setter_effect);
}
RELINK_UNIT_API void relink_unit_template_lazy_property(v8::Template* self, v8::Local<v8::Name> name,
                                                        v8::AccessorNameGetterCallback getter,
                                                        v8::Local<v8::Value> data, v8::PropertyAttribute attributes,
                                                        v8::SideEffectType getter_effect,
                                                        v8::SideEffectType setter_effect) {
  const auto own = relink::property(getter, nullptr, data);
  self->SetLazyDataProperty(name, own.getter, own.data, attributes, getter_effect, setter_effect);
}
RELINK_UNIT_API v8::Maybe<bool> relink_unit_object_property(v8::Object* self, v8::Local<v8::Context> context,
                                                            v8::Local<v8::Name> name,
                                                            v8::AccessorNameGetterCallback getter,
                                                            v8::AccessorNameSetterCallback setter,
                                                            v8::Local<v8::Value> data,
                                                            v8::PropertyAttribute attributes,
                                                            v8::SideEffectType getter_effect,
                                                            v8::SideEffectType setter_effect) {
  const auto own = relink::property(getter, setter, data);
  return self->SetNativeDataProperty(context, name, own.getter, own.setter, own.data, attributes, getter_effect,
                                     setter_effect);
}
RELINK_UNIT_API v8::Maybe<bool> relink_unit_object_lazy_property(v8::Object* self, v8::Local<v8::Context> context,
                                                                 v8::Local<v8::Name> name,
                                                                 v8::AccessorNameGetterCallback getter,
                                                                 v8::Local<v8::Value> data,
                                                                 v8::PropertyAttribute attributes,
                                                                 v8::SideEffectType getter_effect,
                                                                 v8::SideEffectType setter_effect) {
  const auto own = relink::property(getter, nullptr, data);
  return self->SetLazyDataProperty(context, name, own.getter, own.data, attributes, getter_effect, setter_effect);
}

#endif

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
  const auto property = relink::property(getter, setter, data.FromMaybe(v8::Local<v8::Value>()));
  return self->SetNativeDataProperty(context, name, property.getter, property.setter, property.data, attributes,
                                     getter_effect, setter_effect);
}

}  // extern "C"

#endif
