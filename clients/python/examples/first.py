import os

import sluice

with sluice.connect().resources(vram_mb=4096, name="whisper", progress=True) as lease:
    print("GPU", lease.gpus[0].index, "is ours:", os.environ["CUDA_VISIBLE_DEVICES"])
    # load the model and work; the lease is renewed in the background
print("given back")
