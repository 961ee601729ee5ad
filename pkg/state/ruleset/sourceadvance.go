package ruleset

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// perTransaction is how many elements fit into the socket's buffer.
const perTransaction = 1000

// Advance changes what differs from a filter that is in place, and looks at nothing else: a listing of a set costs by all networks
// of the host.
func (f SourceFilter) Advance(k *kernel.Kernel, before SourceFilter) error {
	had := make(map[netip.Addr]bool, len(before.Sources))
	for _, addr := range before.Sources {
		had[addr] = true
	}
	added, gone := f, f
	added.Sources, gone.Sources = nil, nil
	for _, addr := range f.Sources {
		if !had[addr] {
			added.Sources = append(added.Sources, addr)
		}
		delete(had, addr)
	}
	for addr := range had {
		gone.Sources = append(gone.Sources, addr)
	}
	if err := errors.Join(added.addSources(k), gone.deleteSources(k)); err != nil {
		return fmt.Errorf("source filter of network %s: %w", f.Network, err)
	}
	return nil
}

func (f SourceFilter) addSources(k *kernel.Kernel) error {
	elements := f.declared().elements[1:] // without the network itself
	for from := 0; from < len(elements); from += perTransaction {
		if err := put(k, inetLayout, elements[from:min(from+perTransaction, len(elements))]); err != nil {
			return err
		}
	}
	return nil
}

// deleteSources deletes one at a time when another process has deleted some: a transaction with an element that is not there
// deletes none.
func (f SourceFilter) deleteSources(k *kernel.Kernel) error {
	elements := f.declared().elements[1:]
	for from := 0; from < len(elements); from += perTransaction {
		part := elements[from:min(from+perTransaction, len(elements))]
		err := k.DeleteElements(part)
		if err == nil {
			continue
		}
		for i := range part {
			if err := k.DeleteElements(part[i : i+1]); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return nil
}
