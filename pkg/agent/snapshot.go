package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// snapshot is what this host knows of a network. On disk, it is the document that the plugin reads, with keys of the
// agent's beside: so the plugin works without the agent, and the agent without etcd.
type snapshot struct {
	definition agentapi.Network
	// created tells networks of one name apart: etcd's revision.
	created int64
	hosts   overlay.Hosts
}

// agentKeys are the agent's own in the document.
type agentKeys struct {
	Definition agentapi.Network `json:"definition"`
	Created    int64            `json:"created"`
}

// network is the model of the network.
func (s snapshot) network() overlay.Network { return model(s.definition) }

func model(n agentapi.Network) overlay.Network {
	m := overlay.Network{
		Name: n.Name, VNI: n.VNI, MTU: n.MTU, Port: overlay.DefaultPort, Internal: n.Internal, IPMasq: n.IPMasq,
	}
	for _, s := range n.Subnets {
		m.Subnets = append(m.Subnets, s.Prefix)
	}
	return m
}

// own is this host's entry.
func (s snapshot) own() overlay.Peer {
	own, err := s.hosts.Own(nil)
	if err != nil {
		return overlay.Peer{VTEP: s.hosts.Self} // no entry yet: no block
	}
	return own
}

func (s snapshot) equal(other snapshot) bool { return reflect.DeepEqual(s, other) }

// at is the snapshot as this host has it with another address on the underlay. A peer that had the address is left out, and
// so are all of the other family.
func (s snapshot) at(vtep netip.Addr) snapshot {
	if !vtep.IsValid() || vtep == s.hosts.Self {
		return s
	}
	moved := s
	moved.hosts = overlay.Hosts{Self: vtep}
	known := make(map[netip.Addr]bool)
	for _, p := range s.hosts.Peers {
		if p.VTEP == s.hosts.Self {
			p.VTEP = vtep
		} else if p.VTEP == vtep || p.VTEP.Is4() != vtep.Is4() {
			continue
		}
		moved.hosts.Peers = append(moved.hosts.Peers, p)
		known[p.VTEP] = true
	}
	for _, p := range s.hosts.Pins {
		if p.VTEP == s.hosts.Self {
			p.VTEP = vtep
		} else if p.VTEP == vtep || !known[p.VTEP] {
			continue
		}
		moved.hosts.Pins = append(moved.hosts.Pins, p)
	}
	return moved
}

// encode writes the document and the agent's keys as one JSON object.
func (s snapshot) encode() ([]byte, error) {
	network := s.network()
	document := overlay.Document{Network: &network, Hosts: s.hosts}.Encode()
	own, err := json.Marshal(agentKeys{Definition: s.definition, Created: s.created})
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(document), "\n}") + "," + strings.TrimPrefix(string(own), "{")
	return []byte(text + "\n"), nil
}

func decodeSnapshot(data []byte) (snapshot, error) {
	document, err := overlay.Decode(data)
	if err != nil {
		return snapshot{}, err
	}
	var own agentKeys
	if err := json.Unmarshal(data, &own); err != nil {
		return snapshot{}, err
	}
	if document.Network == nil || own.Definition.Name != document.Network.Name || own.Created == 0 {
		return snapshot{}, errors.New("keys are missing")
	}
	return snapshot{definition: own.Definition, created: own.Created, hosts: document.Hosts}, nil
}

// store is the directory of the snapshots.
type store struct{ dir string }

const snapshotEnding = ".json"

func newStore(stateDir string) (store, error) {
	s := store{filepath.Join(stateDir, "networks")}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s, fmt.Errorf("state-dir: %w", err)
	}
	return s, nil
}

// path of a network's snapshot, for key peersFile of its configuration.
func (s store) path(network string) string { return filepath.Join(s.dir, network+snapshotEnding) }

// load reads all snapshots. One that cannot be read is ignored, and written anew when etcd has been read.
func (s store) load() (map[string]snapshot, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("state-dir: %w", err)
	}
	all := make(map[string]snapshot)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), snapshotEnding)
		if !ok || !e.Type().IsRegular() {
			continue // an unfinished one, or none of ours
		}
		snap, err := s.read(name)
		if err != nil {
			slog.Warn("snapshot is ignored until it is rebuilt from etcd", "network", name, "error", err)
			continue
		}
		all[name] = snap
	}
	return all, nil
}

func (s store) read(network string) (snapshot, error) {
	data, err := os.ReadFile(s.path(network))
	if err != nil {
		return snapshot{}, err
	}
	snap, err := decodeSnapshot(data)
	if err == nil && snap.definition.Name != network {
		err = fmt.Errorf("it is of network %s", snap.definition.Name)
	}
	return snap, err
}

// write replaces a snapshot, all of it or nothing.
func (s store) write(snap snapshot) error {
	data, err := snap.encode()
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(s.path(snap.definition.Name), data, 0o600); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

func (s store) remove(network string) error {
	if err := os.Remove(s.path(network)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}
