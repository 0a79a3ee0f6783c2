"""PyTorch: waits for 4 GiB of one GPU, trains on it, and stops early when the memory is taken away.

    pip install torch ./clients/python && python3 clients/python/examples/train_torch.py
"""

import sluice


def main() -> None:
    with sluice.connect().resources(vram_mb=4096, name="train-torch", progress=True) as lease:
        # Only now: CUDA reads CUDA_VISIBLE_DEVICES when it is first used.
        import torch

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = torch.nn.Linear(1024, 1024).to(device)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        for step in range(100):
            # Raises LeaseLost: others may be admitted to this memory by then.
            lease.check()
            batch = torch.randn(256, 1024, device=device)
            loss = (model(batch) - batch).pow(2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % 20 == 0:
                print(f"step {step} on {device}: loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
