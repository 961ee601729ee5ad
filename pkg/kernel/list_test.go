package kernel_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// X.25 stands for a family that the kernel does not have, as IPv6 is with ipv6.disable=1: asked for it, the kernel lists
// what the others have.
func TestListOfAFamilyThatIsNotThere(t *testing.T) {
	for _, test := range []struct {
		name string
		kind uint16
		size int
	}{
		{"routes", unix.RTM_GETROUTE, unix.SizeofRtMsg},
		{"addresses", unix.RTM_GETADDR, unix.SizeofIfAddrmsg},
		{"neighbours", unix.RTM_GETNEIGH, unix.SizeofNdMsg},
		{"rules", unix.RTM_GETRULE, unix.SizeofRtMsg},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			testnet.Sh(t, "ip", "link", "add", "d0", "up", "type", "veth", "peer", "name", "d1")
			testnet.Sh(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "d0")
			testnet.Sh(t, "ip", "neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", "d0")
			k := open(t, "")
			list := func(family byte) (count int) {
				request := make([]byte, test.size)
				request[0] = family
				_, err := kernel.Retry(func() (struct{}, error) {
					count = 0
					return struct{}{}, k.List(test.kind, request, func([]byte) error { count++; return nil })
				})
				if err != nil && family != unix.AF_X25 {
					t.Fatal(err)
				}
				return count
			}
			if got := list(unix.AF_X25); got != 0 {
				t.Errorf("%d of another family", got)
			}
			if got := list(unix.AF_INET); got == 0 {
				t.Error("none of IPv4")
			}
			if got := list(unix.AF_UNSPEC); got == 0 {
				t.Error("none of all families")
			}
		})
	}
}
