package kernel_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// open opens the kernel with the namespace of a path, or without one.
func open(t *testing.T, path string) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}
