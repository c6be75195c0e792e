#!/bin/sh
# drivers_test.sh PROGRAM LIBRARY DRIVER: the library over drivers and devices that it must turn
# down: each time with the right code, and a text that says what to do.
set -eu
cp "$3" "$TEST_TMPDIR/libcuda.so.1"
failed=0

# expect MODE TEXT...: every text stands in what the program prints.
expect() {
  mode=$1
  shift
  printed=$(EBB_MOCK_DRIVER=$mode LD_LIBRARY_PATH="$TEST_TMPDIR" "$program" "$library")
  for text in "$@"; do
    case "$printed" in
      *"$text"*) ;;
      *)
        printf '%s: no "%s" in:\n%s\n' "$mode" "$text" "$printed" >&2
        failed=1
        ;;
    esac
  done
}

program=$1 library=$2
expect well "find: OK" "driver 13000, 2 devices" "info: OK" \
  "Mock GPU-00112233-4455-6677-8899-aabbccddeeff 9.0 132 SMs 52428800 85899345920" \
  "no such device: NOT_FOUND" "there is no device 2; the driver sees 2"
expect mig "MIG-00112233-4455-6677-8899-aabbccddeeff"
expect old "find: FAILED_PRECONDITION" "is for CUDA 12.4" "update the driver" \
  "open: FAILED_PRECONDITION"
expect no_device "find: NOT_FOUND" "CUDA_ERROR_NO_DEVICE" "CUDA_VISIBLE_DEVICES"
expect empty "find: NOT_FOUND" "sees no device"
expect not_ready "find: FAILED_PRECONDITION" "fabric manager"
expect stub "find: NOT_FOUND" "the toolkit's stub"
expect fell_off "find: UNAVAILABLE" "CUDA_ERROR_UNKNOWN" "device-lost"
expect turing "open: FAILED_PRECONDITION" "device 0 (Mock, 7.5) is too old" "8.0"
expect no_vmm "open: FAILED_PRECONDITION" "no virtual memory management"
exit "$failed"
