// loan.h: uninitialised memory for array buffers, for V8s without a function for it. Included after V8's headers, or after the
// bridge's own declarations of the same.
#ifndef RELINK_LOAN_H_
#define RELINK_LOAN_H_

#include <memory>
#include <utility>

namespace relink {

// Memory of an isolate's allocator, lent to a backing store.
struct Loan {
  v8::ArrayBuffer::Allocator* allocator;
  // An empty store made for the isolate: it shares the ownership of the isolate's allocator, so that a buffer that was
  // transferred can be freed after its isolate, a worker's, is gone.
  std::unique_ptr<v8::BackingStore> keeper;
};

inline void give_back(void* data, size_t length, void* loan_pointer) {
  std::unique_ptr<Loan> loan(static_cast<Loan*>(loan_pointer));
  loan->allocator->Free(data, length);
}

// Like NewBackingStore, but the memory is not cleared and failure is null instead of the end of the process.
inline std::unique_ptr<v8::BackingStore> uninitialised_store(v8::Isolate* isolate, size_t length) {
  auto keeper = v8::ArrayBuffer::NewBackingStore(isolate, 0);
  if (length == 0) return keeper;
  v8::ArrayBuffer::Allocator* allocator = isolate->GetArrayBufferAllocator();
  void* data = allocator->AllocateUninitialized(length);
  if (data == nullptr) {
    isolate->LowMemoryNotification();  // V8 collects garbage before it gives up, too
    data = allocator->AllocateUninitialized(length);
  }
  if (data == nullptr) return nullptr;
  return v8::ArrayBuffer::NewBackingStore(data, length, give_back, new Loan{allocator, std::move(keeper)});
}

}  // namespace relink

#endif  // RELINK_LOAN_H_
