package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// uplink gives a host what plugins look for on a real one: an interface with the default routes.
const uplink = `
link set lo up
link add eth0 type veth peer name outside
link set eth0 up
link set outside up
addr add 192.0.2.2/24 dev eth0
addr add 2001:db8::2/64 dev eth0 nodad
route add default via 192.0.2.1
route add default via 2001:db8::1
`

func newHost(name string) (*testnet.Namespace, error) {
	host, err := testnet.New("host-" + name)
	if err != nil {
		return nil, err
	}
	if err := batch(host, uplink); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return host, nil
}

// batch runs commands of ip(8) in a namespace, one a line.
func batch(n *testnet.Namespace, commands string) error {
	ip := n.Command("ip", "-batch", "-")
	ip.Stdin = strings.NewReader(commands)
	if out, err := ip.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return nil
}

// ports is the number of links that are attached to a bridge of the host.
func ports(host *testnet.Namespace) (n int, err error) {
	err = host.Do(func() error {
		links, err := netlink.LinkList()
		for _, link := range links {
			if link.Attrs().MasterIndex != 0 {
				n++
			}
		}
		return err
	})
	return n, err
}

// inventory is what an attachment has to take along when it goes.
type inventory struct{ links, reservations int }

func (b *bed) count() (inventory, error) {
	var found inventory
	files, err := os.ReadDir(filepath.Join(b.data, networkName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return found, err
	}
	found.reservations = len(files)
	err = b.host.Do(func() error {
		links, err := netlink.LinkList()
		found.links = len(links)
		return err
	})
	return found, err
}

// leaks compares the host with what it held after the first round.
func (b *bed) leaks() error {
	now, err := b.count()
	if err != nil {
		return err
	}
	if now != b.idle {
		return fmt.Errorf("%s left behind after DEL: %d links, %d files", b.name,
			now.links-b.idle.links, now.reservations-b.idle.reservations)
	}
	return nil
}
