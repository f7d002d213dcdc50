// functions.cc: functions of the guest's that scripts call. Until V8 14.6 V8 calls those of older guests itself.
#include "fast_calls.h"
#include "unit.h"
#include "unit_map.h"
#include "words.h"

#if RELINK_CALLS_IN_FRAME

#include <atomic>

namespace relink {
namespace {

using v8::Eternal;
using v8::External;
using v8::FunctionCallback;
using v8::Isolate;
using v8::Local;
using v8::Value;
using Info = v8::FunctionCallbackInfo<Value>;

// A call of V8's as the guest is told of it. V8's own words are in its stack frame; one of them, the new target, is there for
// constructors only.
class Call {
 public:
  Call(const Info& info, Address data)
      : words_(info.GetIsolate()),
        answer_(word_of(info.GetReturnValue())),
        guests_{words_.words(), word_of(info.This()) + 1, info.Length()} {
    words_[kFunctionIsolate] = reinterpret_cast<Address>(info.GetIsolate());
    words_[kFunctionReturnValue] = *answer_;
    words_[kFunctionNewTarget] = *word_of(info.NewTarget());
    words_[kFunctionData] = data;
  }
  ~Call() { *answer_ = words_[kFunctionReturnValue]; }
  const Info& info() const {
    const void* guests = &guests_;
    return *static_cast<const Info*>(guests);
  }

 private:
  // v8-function-callback.h: FunctionCallbackInfo
  struct Guests {
    Address* implicit_args;
    Address* values;  // behind the receiver
    int length;
  };

  Handles<kFunctionWords> words_;
  Address* answer_;
  Guests guests_;
};

// Of a template: a few words for each, which are left behind by the isolate.
struct OfTemplate {
  FunctionCallback callback;
  Eternal<Value> data;
};

void call_of_template(const Info& info) {
  auto* own = static_cast<OfTemplate*>(info.Data().As<External>()->Value());
  own->callback(Call(info, kept(info.GetIsolate(), own->data)).info());
}

// What V8 is given for one.
struct Slow {
  FunctionCallback callback;
  Local<Value> data;
};

Slow of_template(Isolate* isolate, FunctionCallback callback, Local<Value> data) {
  if (callback == nullptr) return {};
  return {call_of_template, External::New(isolate, new OfTemplate{callback, keep(isolate, data)})};
}

// Of a function alone, which the garbage collector may take: an object that it holds has the callback and the guest's data.
enum Field { kCallback, kData, kFields };

void call_of_function(const Info& info) {
  auto own = info.Data().As<v8::Object>();
  void* callback = own->GetInternalField(kCallback).As<Value>().As<External>()->Value();
  reinterpret_cast<FunctionCallback>(callback)(Call(info, *word_of(own->GetInternalField(kData))).info());
}

// The template of these objects, for each isolate.
Local<v8::ObjectTemplate> template_of_pairs(Isolate* isolate) {
  auto& all = by_address<Eternal<v8::ObjectTemplate>>();
  if (auto* known = all.find(isolate)) return known->Get(isolate);
  Local<v8::ObjectTemplate> made = v8::ObjectTemplate::New(isolate);
  made->SetInternalFieldCount(kFields);
  all.put(isolate, std::make_unique<Eternal<v8::ObjectTemplate>>(isolate, made));
  return made;
}

// Of the isolate that streams WebAssembly; Node's is the same for all.
std::atomic<FunctionCallback> g_wasm_streaming{nullptr};

void call_for_wasm(const Info& info) { g_wasm_streaming.load()(Call(info, *word_of(info.Data())).info()); }

}  // namespace

void forget_functions(Isolate* isolate) { by_address<Eternal<v8::ObjectTemplate>>().take(isolate); }

}  // namespace relink

extern "C" {

RELINK_UNIT_API v8::Local<v8::FunctionTemplate> relink_unit_called_template(
    v8::Isolate* isolate, v8::FunctionCallback callback, v8::Local<v8::Value> data, v8::Local<v8::Signature> signature,
    int length, v8::ConstructorBehavior behavior, v8::SideEffectType side_effect, const v8::CFunction* fast,
    uint16_t instance_type, uint16_t receivers_begin, uint16_t receivers_end) {
  const auto slow = relink::of_template(isolate, callback, data);
  return v8::FunctionTemplate::New(isolate, slow.callback, slow.data, signature, length, behavior, side_effect,
                                   relink::hosts_fast_call(fast), instance_type, receivers_begin, receivers_end);
}

RELINK_UNIT_API v8::Local<v8::FunctionTemplate> relink_unit_called_overloads(
    v8::Isolate* isolate, v8::FunctionCallback callback, v8::Local<v8::Value> data, v8::Local<v8::Signature> signature,
    int length, v8::ConstructorBehavior behavior, v8::SideEffectType side_effect,
    const v8::MemorySpan<const v8::CFunction>& fast) {
  const auto slow = relink::of_template(isolate, callback, data);
  return v8::FunctionTemplate::NewWithCFunctionOverloads(isolate, slow.callback, slow.data, signature, length, behavior,
                                                         side_effect, relink::hosts_fast_calls(fast));
}

RELINK_UNIT_API v8::MaybeLocal<v8::Function> relink_unit_called_function(v8::Local<v8::Context> context,
                                                                         v8::FunctionCallback callback,
                                                                         v8::Local<v8::Value> data, int length,
                                                                         v8::ConstructorBehavior behavior,
                                                                         v8::SideEffectType side_effect) {
  v8::Isolate* isolate = v8::Isolate::GetCurrent();
  v8::EscapableHandleScope scope(isolate);
  v8::Local<v8::Object> own;
  if (!relink::template_of_pairs(isolate)->NewInstance(context).ToLocal(&own)) return {};
  own->SetInternalField(relink::kCallback, v8::External::New(isolate, reinterpret_cast<void*>(callback)));
  if (!data.IsEmpty()) own->SetInternalField(relink::kData, data);
  return scope.EscapeMaybe(v8::Function::New(context, relink::call_of_function, own, length, behavior, side_effect));
}

RELINK_UNIT_API void relink_unit_wasm_streaming(v8::Isolate* self, v8::FunctionCallback callback) {
  relink::g_wasm_streaming.store(callback);
  self->SetWasmStreamingCallback(callback == nullptr ? nullptr : relink::call_for_wasm);
}

}  // extern "C"

#endif
