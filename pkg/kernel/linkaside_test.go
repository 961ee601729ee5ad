package kernel

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/aside"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// openAside opens the kernel as DEL does.
func openAside(t *testing.T, container *testnet.Namespace) *Kernel {
	t.Helper()
	k, err := Open(container.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	k.WaitAside()
	return k
}

// veth makes a pair, and gives its end on the host.
func veth(t *testing.T, k *Kernel, name string) netlink.Link {
	t.Helper()
	if err := k.AddVeth(VethPair{HostName: name, In: k.Container, ContainerName: "eth0"}); err != nil {
		t.Fatal(err)
	}
	link, err := k.Host.LinkNow(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// gone expects both ends to have gone, and their names to be free.
func gone(t *testing.T, k *Kernel, name string) {
	t.Helper()
	for in, name := range map[*Namespace]string{k.Host: name, k.Container: "eth0"} {
		if link, err := in.LinkNow(name); !IsNotFound(err) {
			t.Errorf("%s is there: %v, %v", name, link, err)
		}
	}
}

// TestLinkDelAside: when a deletion is done, the names are free at once, from whichever end it was asked for, also beside others who
// do the same.
func TestLinkDelAside(t *testing.T) {
	for i := range 4 {
		name := fmt.Sprint("veth", i)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := openAside(t, testnet.NewNS(t, name))
			for round := range 50 {
				link, in := veth(t, k, name), k.Host
				if round%2 == 1 {
					in = k.Container
					var err error
					if link, err = in.LinkNow("eth0"); err != nil {
						t.Fatal(err)
					}
				}
				if err := in.LinkDel(link); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				gone(t, k, name)
			}
		})
	}
}

// TestLinkDelAsideFails: the kernel's refusals come back.
func TestLinkDelAsideFails(t *testing.T) {
	testnet.NewHost(t)
	k := openAside(t, testnet.NewNS(t, "c"))
	lo, err := k.Host.LinkNow("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Host.LinkDel(lo); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("lo: %v", err)
	}
	link := veth(t, k, "veth0")
	for _, want := range []error{nil, unix.ENODEV} {
		if err := k.Host.LinkDel(link); !errors.Is(err, want) {
			t.Errorf("error %v instead of %v", err, want)
		}
	}
}

// TestLinkDelAsideIsTakenOver: a process that cannot be had, or is killed before it has asked for anything, is done without.
func TestLinkDelAsideIsTakenOver(t *testing.T) {
	testnet.NewHost(t)
	k := openAside(t, testnet.NewNS(t, "c"))
	for name, waits := range map[string]func(int, []byte) (int, error){
		"none":   func(int, []byte) (int, error) { return -1, aside.ErrUnable },
		"killed": func(to int, _ []byte) (int, error) { return aside.Start(aside.Task{Keep: []int{to}}) },
	} {
		k.Host.waits = waits
		if err := k.Host.LinkDel(veth(t, k, "veth0")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		gone(t, k, "veth0")
	}
}

// TestLinkDelAsideAfterOtherNews: that another link is deleted, or a port leaves its bridge, is no news of this one.
func TestLinkDelAsideAfterOtherNews(t *testing.T) {
	testnet.NewHost(t)
	k := openAside(t, testnet.NewNS(t, "c"))
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := k.Host.LinkAdd(bridge); err != nil {
		t.Fatal(err)
	}
	port := veth(t, k, "veth0")
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		t.Fatal(err)
	}
	news, err := k.Host.deletionsOf(port.Attrs().Index)
	if err != nil {
		t.Fatal(err)
	}
	defer news.close()
	arrived := func() bool {
		polled := []unix.PollFd{{Fd: int32(news.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, 0)
		return n == 1 && err == nil
	}
	if err := errors.Join(netlink.LinkSetNoMaster(port), k.Host.LinkDel(bridge)); err != nil {
		t.Fatal(err)
	}
	if arrived() {
		t.Error("the news of another link arrived")
	}
	if err := k.Host.LinkDel(port); err != nil {
		t.Fatal(err)
	}
	if !arrived() {
		t.Error("no news of the link's deletion")
	}
}

// TestLeavesAside: a process that exits leaves the socket of netfilter to another one, whether it has deleted anything or only asked.
func TestLeavesAside(t *testing.T) {
	testnet.NewHost(t)
	k, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	k.LeaveAside()
	if _, err := k.HasNftables(); err != nil {
		t.Error(err)
	}
	k.Close()
	if !k.held {
		t.Error("nobody else has the socket")
	}
}
