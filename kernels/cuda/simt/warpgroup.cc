#include "kernels/cuda/simt/warpgroup.h"

namespace ebb::kernels::cuda::simt {
namespace {

// What a lane gives; the same for all but the product.
struct Call {
  MatrixProduct product;
  int pending = 0;
  int warp = 0;
  Site site;
};

EBB_SIMT_EXCHANGE const Call& First(void* const* args) { return *static_cast<Call*>(args[0]); }

EBB_SIMT_EXCHANGE void FailIf(const char* fault, const Call& call) {
  if (fault != nullptr) Fail(fault, call.site);
}

EBB_SIMT_EXCHANGE void ExchangeFence(void* const* args) {
  current_async_proxy->Fence(First(args).warp);
}
EBB_SIMT_EXCHANGE void ExchangeArrive(void* const* args) {
  current_async_proxy->Arrive(First(args).warp);
}
EBB_SIMT_EXCHANGE void ExchangeCommit(void* const* args) {
  current_async_proxy->Commit(First(args).warp);
}
EBB_SIMT_EXCHANGE void ExchangeWait(void* const* args) {
  const Call& call = First(args);
  FailIf(current_async_proxy->Wait(call.warp, call.pending), call);
}
EBB_SIMT_EXCHANGE void ExchangeProduct(void* const* args) {
  const MatrixProduct* products[kWarpLanes];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    products[lane] = &static_cast<const Call*>(args[lane])->product;
  }
  const Call& call = First(args);
  FailIf(current_async_proxy->Queue(call.warp, products), call);
}

void Together(Exchange exchange, const char* what, Site site, const MatrixProduct& product = {},
              int pending = 0) {
  Call call = {product, pending, current_place->warp, site};
  Rendezvous(~0u, Meeting::kWarp, exchange, &call, what, site);
}

}  // namespace

void FenceProxy(Site site) { Together(ExchangeFence, "FenceAsyncProxy", site); }
void ArriveWarpgroup(Site site) { Together(ExchangeArrive, "WarpgroupArrive", site); }
void CommitProducts(Site site) { Together(ExchangeCommit, "WarpgroupCommit", site); }
void WaitProducts(int pending, Site site) {
  Together(ExchangeWait, "WarpgroupWait", site, {}, pending);
}
void QueueProduct(const MatrixProduct& product, Site site) {
  Together(ExchangeProduct, "WarpgroupMma", site, product);
}

}  // namespace ebb::kernels::cuda::simt
