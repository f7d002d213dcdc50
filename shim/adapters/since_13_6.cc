// since_13_6.cc: what V8 13.6 changed since 12.9, for guests compiled for older ones.
#include "params.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "unit.h"

namespace relink {
namespace {

using v8::Isolate;
using v8::Local;

// Allocators of array buffers: the last virtual function is gone, others have its slot. What V8 did in it: what is added is zero.
void* reallocate(guest::Allocator* allocator, void* data, size_t old_length, size_t new_length) {
  if (old_length == new_length) return data;
  void* fresh = allocator->Allocate(new_length);
  if (fresh == nullptr) return nullptr;
  std::memcpy(fresh, data, std::min(old_length, new_length));
  allocator->Free(data, old_length);
  return fresh;
}

class HostsAllocator final : public v8::ArrayBuffer::Allocator {
 public:
  explicit HostsAllocator(std::shared_ptr<guest::Allocator> guest) : guest_(std::move(guest)) {}
  void* Allocate(size_t length) override { return guest_->Allocate(length); }
  void* AllocateUninitialized(size_t length) override { return guest_->AllocateUninitialized(length); }
  void Free(void* data, size_t length) override { guest_->Free(data, length); }
#if RELINK_HOST >= 1306
  // No process has more addresses. For what an allocator refuses V8 14.6 tells the isolate that its heap is nearly full.
  size_t MaxAllocationSize() const override { return size_t{1} << 46; }
#endif

 private:
  std::shared_ptr<guest::Allocator> guest_;
};

class GuestsAllocator final : public guest::Allocator {
 public:
  explicit GuestsAllocator(v8::ArrayBuffer::Allocator* host) : host_(host) {}
  void* Allocate(size_t length) override { return host_->Allocate(length); }
  void* AllocateUninitialized(size_t length) override { return host_->AllocateUninitialized(length); }
  void Free(void* data, size_t length) override { host_->Free(data, length); }
  void* Reallocate(void* data, size_t old_length, size_t new_length) override {
    return reallocate(this, data, old_length, new_length);
  }

 private:
  std::unique_ptr<v8::ArrayBuffer::Allocator> host_;
};

// External strings: virtual functions were put between those of 10.2.

template <class Host, class Guest>
class HostsString final : public Host {
 public:
  explicit HostsString(Guest* guest) : guest_(guest) {}
  bool IsCacheable() const override { return guest_->IsCacheable(); }
  decltype(std::declval<Host>().data()) data() const override { return guest_->data(); }
  size_t length() const override { return guest_->length(); }

  // The guest's, if this is one of ours.
  static Guest* guest_of(const Host* host) {
    static const HostsString model(nullptr);
    auto table = [](const Host* of) { return *reinterpret_cast<void* const*>(of); };
    return table(host) == table(&model) ? static_cast<const HostsString*>(host)->guest_ : nullptr;
  }

 protected:
  void Dispose() override {
    guest_->Dispose();
    delete this;
  }
  void Lock() const override { guest_->Lock(); }
  void Unlock() const override { guest_->Unlock(); }

 private:
  Guest* guest_;
};

// A string of somebody else's, to be read at once.
template <class Host, class Guest>
class GuestsString final : public Guest {
 public:
  const Guest* show(const Host* host) {
    host_ = host;
    return this;
  }
  bool IsCacheable() const override { return host_->IsCacheable(); }
  void Dispose() override {}
  void Lock() const override {}
  void Unlock() const override {}
  decltype(std::declval<Guest>().data()) data() const override { return host_->data(); }
  size_t length() const override { return host_->length(); }

 private:
  const Host* host_ = nullptr;
};

template <class Host, class Guest>
const Guest* guests_string(const Host* host) {
  if (host == nullptr) return nullptr;
  if (const Guest* guest = HostsString<Host, Guest>::guest_of(host)) return guest;
  static thread_local GuestsString<Host, Guest> shown;
  return shown.show(host);
}

// If V8 does not take it, it stays the caller's.
template <class Host, class Guest, class Make>
v8::MaybeLocal<v8::String> hosts_string(Isolate* isolate, Guest* guest, Make make) {
  auto* own = new HostsString<Host, Guest>(guest);
  v8::MaybeLocal<v8::String> made = make(isolate, own);
  if (made.IsEmpty()) delete own;
  return made;
}

using OneByte = v8::String::ExternalOneByteStringResource;
using TwoByte = v8::String::ExternalStringResource;

}  // namespace

void hosts_allocator(v8::Isolate::CreateParams* params) {
  std::shared_ptr<guest::Allocator> guests;
  if (params->array_buffer_allocator_shared != nullptr) {
    auto* object = reinterpret_cast<guest::Allocator*>(params->array_buffer_allocator_shared.get());
    guests = std::shared_ptr<guest::Allocator>(params->array_buffer_allocator_shared, object);
  } else {
    auto* object = reinterpret_cast<guest::Allocator*>(params->array_buffer_allocator);
    guests = std::shared_ptr<guest::Allocator>(std::shared_ptr<void>(), object);
  }
  // Shared: V8 ends it with the last of its buffers.
  params->array_buffer_allocator_shared = std::make_shared<HostsAllocator>(std::move(guests));
  params->array_buffer_allocator = nullptr;
}

}  // namespace relink

extern "C" {

// V8 does not tell of Atomics.wait() any more.
RELINK_UNIT_API void relink_unit_no_atomics_trace(v8::Isolate*, const void*, void*) {}

RELINK_UNIT_API guest::Allocator* relink_unit_default_allocator() {
  return new relink::GuestsAllocator(v8::ArrayBuffer::Allocator::NewDefaultAllocator());
}

// In the vtables of allocators that do not have one of their own.
RELINK_UNIT_API void* relink_unit_allocator_reallocate(guest::Allocator* self, void* data, size_t old_length,
                                                       size_t new_length) {
  return relink::reallocate(self, data, old_length, new_length);
}

// V8 has no such function any more. What is added is zero.
RELINK_UNIT_API guest::unique_ptr<v8::BackingStore> relink_unit_reallocate(v8::Isolate* isolate,
                                                                         guest::unique_ptr<v8::BackingStore> guests,
                                                                         size_t length) {
  std::unique_ptr<v8::BackingStore> store = std::move(guests);
  if (store->ByteLength() == length) return store;
  auto fresh = v8::ArrayBuffer::NewBackingStore(isolate, length);
  if (size_t both = std::min(length, store->ByteLength())) std::memcpy(fresh->Data(), store->Data(), both);
  return fresh;
}

RELINK_UNIT_API v8::MaybeLocal<v8::String> relink_unit_one_byte_string(v8::Isolate* isolate,
                                                                       guest::ExternalOneByteString* resource) {
  return relink::hosts_string<relink::OneByte>(isolate, resource, v8::String::NewExternalOneByte);
}
RELINK_UNIT_API v8::MaybeLocal<v8::String> relink_unit_two_byte_string(v8::Isolate* isolate,
                                                                       guest::ExternalString* resource) {
  return relink::hosts_string<relink::TwoByte>(isolate, resource, v8::String::NewExternalTwoByte);
}
RELINK_UNIT_API const guest::ExternalOneByteString* relink_unit_one_byte_resource(const v8::String* self) {
  return relink::guests_string<relink::OneByte, guest::ExternalOneByteString>(self->GetExternalOneByteStringResource());
}
RELINK_UNIT_API const guest::ExternalString* relink_unit_two_byte_resource(const v8::String* self) {
  return relink::guests_string<relink::TwoByte, guest::ExternalString>(self->GetExternalStringResource());
}

#if RELINK_GUEST >= 1204
// Where a task was posted, for messages. V8 does not export it any more.
RELINK_UNIT_API guest::string relink_unit_location_text(const guest::SourceLocation* self) {
  if (self->function == nullptr) return std::string();
  return std::string(self->function) + "@" + self->file + ":" + std::to_string(self->line);
}
#endif

}  // extern "C"
