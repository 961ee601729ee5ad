package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/registry"
)

// keepNamesAfter is how long names of other hosts that have changed are put off: of thousands, one comes or goes at a time.
const keepNamesAfter = 5 * time.Second

// keptName is what a container of another host is called, as it was answered last.
type keptName struct {
	// Record is as its host has published it.
	Record json.RawMessage `json:"record"`
	// Addresses are those that the host may speak for.
	Addresses []netip.Addr `json:"addresses"`
}

// keepNames writes to disk what other hosts call their containers. An agent that starts while etcd is away answers from it, as one
// does that runs on.
func (a *Agent) keepNames(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), a.writeNames())
		case <-a.others.changed:
		}
		select {
		case <-ctx.Done():
		case <-time.After(keepNamesAfter):
		}
		if err := a.writeNames(); ctx.Err() == nil {
			a.problems.note(aboutKeptNames, err)
		}
	}
}

// writeNames writes the networks of which the disk has something else. What cannot be written is tried again.
func (a *Agent) writeNames() error {
	a.others.mu.Lock()
	unkept := make(map[string]map[string]keptName)
	for network := range a.others.unkept {
		unkept[network] = keptOf(a.others.entered[network])
	}
	clear(a.others.unkept)
	a.others.mu.Unlock()
	var errs []error
	for _, network := range slices.Sorted(maps.Keys(unkept)) {
		if err := a.files.saveNames(network, unkept[network]); err != nil {
			errs = append(errs, err)
			a.others.mu.Lock()
			a.others.unkept[network] = true
			a.others.mu.Unlock()
			a.others.changed.set()
		}
	}
	return errors.Join(errs...)
}

func keptOf(all map[string]entered) map[string]keptName {
	kept := make(map[string]keptName, len(all))
	for key, name := range all {
		kept[key] = keptName{json.RawMessage(name.Text()), name.addrs}
	}
	return kept
}

// recallNames enters what was kept of networks that this host is a member of, until the registry says what holds.
func (a *Agent) recallNames() {
	if a.config.Names == nil {
		return
	}
	for _, network := range a.cache.joinedNetworks() {
		kept, err := a.files.loadNames(network)
		if err != nil {
			slog.Warn("names of other hosts are not answered until etcd is read", "network", network, "error", err)
			continue
		}
		for key, k := range kept {
			if err := a.recall(network, key, k); err != nil {
				slog.Warn("a name of another host is not answered until etcd is read", "network", network, "key", key, "error", err)
			}
		}
	}
}

// recall enters one name. An address that its record has not is no host's to speak for.
func (a *Agent) recall(network, key string, k keptName) error {
	name, err := registry.ReadName(network, key, string(k.Record))
	if err != nil {
		return err
	}
	if name.Node == a.node() {
		return nil // since this host is called that
	}
	for _, addr := range k.Addresses {
		if !slices.Contains(name.Record.Addresses, addr) {
			return fmt.Errorf("its record has not %s", addr)
		}
	}
	a.others.mu.Lock()
	defer a.others.mu.Unlock()
	if a.others.entered[network] == nil {
		a.others.entered[network] = make(map[string]entered)
	}
	a.others.entered[network][key] = entered{name, k.Addresses}
	a.answer(network, key, a.others.entered[network][key])
	return nil
}
