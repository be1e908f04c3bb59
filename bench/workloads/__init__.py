"""What is measured: each module registers its workloads when it is imported."""
