package kernel_test

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestInEmpty: what is made there is nowhere else, and what fails is told.
func TestInEmpty(t *testing.T) {
	testnet.NewHost(t)
	err := kernel.InEmpty(func(h *netlink.Handle) error {
		links, err := h.LinkList()
		if err == nil && len(links) != 1 {
			t.Errorf("%d links, want the loopback", len(links))
		}
		return errors.Join(err, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := netlink.LinkByName("br0"); err == nil {
		t.Error("the bridge is on the host")
	}
	own := errors.New("own")
	if err := kernel.InEmpty(func(*netlink.Handle) error { return own }); !errors.Is(err, own) {
		t.Errorf("got %v", err)
	}
}
