package main

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/state"
)

// inventory counts what the host holds for its containers.
type inventory struct{ links, elements, reservations int }

func takeInventory() (inventory, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return inventory{}, err
	}
	elements, err := ownedElements()
	if err != nil {
		return inventory{}, err
	}
	reservations, err := reservedAddresses()
	return inventory{len(links), elements, reservations}, err
}

func (i inventory) String() string {
	return fmt.Sprintf("%d links, %d nftables elements, %d reserved addresses", i.links, i.elements, i.reservations)
}

// ownedElements counts the elements of nftables sets and maps whose comment names a container. What is declared of a bridge stays
// with it.
func ownedElements() (n int, err error) {
	conn, err := nftables.New()
	if err != nil {
		return 0, err
	}
	tables, err := conn.ListTables()
	if err != nil {
		return 0, err
	}
	for _, table := range tables {
		sets, err := conn.GetSets(table)
		if err != nil {
			return 0, err
		}
		for _, set := range sets {
			elements, err := conn.GetSetElements(set)
			if err != nil {
				return 0, err
			}
			for _, e := range elements {
				if state.IsTag(e.Comment) {
					n++
				}
			}
		}
	}
	return n, nil
}

// reservedAddresses counts the files of host-local that are named as an address.
func reservedAddresses() (n int, err error) {
	files, err := filepath.Glob(reservations + "/*/*")
	for _, file := range files {
		if _, err := netip.ParseAddr(filepath.Base(file)); err == nil {
			n++
		}
	}
	return n, err
}
