package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/vtep"
)

// Programming is a host's way to its peers, from their document to the kernel, as plugin and agent make it.
type Programming struct {
	Name  string
	Peers int
	// Make and Mend are goals in milliseconds.
	Make, Mend Goal
}

func programmings() []Programming {
	return []Programming{
		{Name: fmt.Sprintf("document of %d peers", somePeers), Peers: somePeers, Make: atMost(100), Mend: atMost(100)},
		{Name: fmt.Sprintf("document of %d peers", manyPeers), Peers: manyPeers},
	}
}

const (
	// makeAll is on a host that has nothing of the network.
	makeAll verb = "make"
	// look is when all is there.
	look verb = "look"
	// mend is after somebody has deleted the device, and with it all that lies on it.
	mend verb = "mend"
)

// program measures each verb on a host of its own for each round.
func (b bench) program(ctx context.Context, p Programming) ([]Row, error) {
	data := filepath.Join(b.scratch, "programming", "data")
	if err := writePeers(data, Case{Peers: p.Peers}); err != nil {
		return nil, err
	}
	rows := []Row{
		{Case: p.Name, Verb: makeAll, Unit: milliseconds, Goal: p.Make},
		{Case: p.Name, Verb: look, Unit: milliseconds},
		{Case: p.Name, Verb: mend, Unit: milliseconds, Goal: p.Mend},
	}
	for range min(b.rounds, 10) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		took, err := programOnce(peersFile(data))
		if err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i].Ours = append(rows[i].Ours, inMilliseconds(took[i]))
		}
	}
	return rows, nil
}

// programOnce gives the time of making, looking and mending.
func programOnce(document string) (took [3]time.Duration, err error) {
	host, err := newHost("programmed")
	if err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	return took, host.Do(func() error {
		for i, step := range []struct {
			before func() error
			act    func(vxlan.Overlay, *kernel.Kernel) error
		}{
			{func() error { return nil }, ensure},
			{func() error { return nil }, vxlan.Overlay.Verify},
			{deleteDevice, ensure},
		} {
			if err := step.before(); err != nil {
				return err
			}
			start := time.Now()
			if err := realise(document, step.act); err != nil {
				return err
			}
			took[i] = time.Since(start)
		}
		return realise(document, vxlan.Overlay.Verify) // nothing was bought by doing less
	})
}

func ensure(o vxlan.Overlay, k *kernel.Kernel) error {
	_, err := o.Ensure(k)
	return err
}

// realise goes from the document to the kernel.
func realise(document string, act func(vxlan.Overlay, *kernel.Kernel) error) error {
	data, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	d, err := overlay.Decode(data)
	if err != nil {
		return err
	}
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	own, err := d.Own([]netip.Addr{netip.MustParseAddr(hostAddress)})
	if err != nil {
		return err
	}
	underlay, err := vxlan.UnderlayOf(k, own.VTEP)
	if err != nil {
		return err
	}
	return act(vtep.Declare(*d.Network, d.Hosts, own, underlay.MTU), k)
}

// deleteDevice runs in the host's namespace.
func deleteDevice() error {
	link, err := netlink.LinkByName(overlay.LinkName(overlayNetwork().VNI))
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}
