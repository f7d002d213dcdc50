// graph.cc: what embedders add to heap snapshots.
#include <algorithm>
#include <vector>

#include "guest.h"
#include "lock.h"
#include "unit.h"

#if RELINK_GUEST < 1306

namespace relink {
namespace {

using v8::Isolate;
using v8::Local;

// What the guest calls. Since 12.9 a virtual function is between; and libc++'s pointer to a node is passed otherwise.
class Graph final : public guest::EmbedderGraph {
 public:
  explicit Graph(v8::EmbedderGraph* host) : host_(host) {}
  Node* V8Node(const Local<v8::Value>& value) override { return host_->V8Node(value); }
  Node* AddNode(guest::unique_ptr<Node> node) override { return host_->AddNode(std::move(node)); }
  void AddEdge(Node* from, Node* to, const char* name) override { host_->AddEdge(from, to, name); }

 private:
  v8::EmbedderGraph* host_;
};

using GuestsBuilder = void (*)(Isolate*, guest::EmbedderGraph*, void*);
struct Builder {
  v8::HeapProfiler* profiler;
  GuestsBuilder callback;
  void* data;
  bool operator==(const Builder&) const = default;
};

// V8 is given a builder of ours for each of the guest's.
class Builders {
 public:
  Builder* add(const Builder& builder) {
    Lock::Guard guard(lock_);
    return all_.emplace_back(std::make_unique<Builder>(builder)).get();
  }
  std::unique_ptr<Builder> take(const Builder& builder) {
    Lock::Guard guard(lock_);
    auto found = std::find_if(all_.begin(), all_.end(), [&](const auto& own) { return *own == builder; });
    if (found == all_.end()) return nullptr;
    std::unique_ptr<Builder> own = std::move(*found);
    all_.erase(found);
    return own;
  }

 private:
  Lock lock_;
  std::vector<std::unique_ptr<Builder>> all_;
};

// Lives for ever: threads may still use it while the process ends.
Builders& builders() {
  static auto* all = new Builders;
  return *all;
}

void build_graph(Isolate* isolate, v8::EmbedderGraph* host, void* builder_pointer) {
  Graph graph(host);
  auto* builder = static_cast<Builder*>(builder_pointer);
  builder->callback(isolate, &graph, builder->data);
}

}  // namespace
}  // namespace relink

extern "C" {

RELINK_UNIT_API void relink_unit_add_graph_builder(v8::HeapProfiler* self, relink::GuestsBuilder callback, void* data) {
  self->AddBuildEmbedderGraphCallback(relink::build_graph, relink::builders().add({self, callback, data}));
}
RELINK_UNIT_API void relink_unit_remove_graph_builder(v8::HeapProfiler* self, relink::GuestsBuilder callback,
                                                      void* data) {
  auto own = relink::builders().take({self, callback, data});
  if (own != nullptr) self->RemoveBuildEmbedderGraphCallback(relink::build_graph, own.get());
}

}  // extern "C"

#endif
