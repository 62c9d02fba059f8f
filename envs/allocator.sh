# shellcheck shell=bash
# Sourced before a long run: glibc keeps the memory that tensors give back, in large pages, instead of asking the
# kernel for it anew at every step. Measured on two CPU cores: a training step is a tenth faster; the same peak.
# What the caller has set stays; other C libraries ignore these variables.
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-33554432}     # 32 MiB, the most that glibc takes
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-17179869184}  # 16 GiB
export MALLOC_TOP_PAD_=${MALLOC_TOP_PAD_:-268435456}                  # 256 MiB
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
