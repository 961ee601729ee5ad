package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// recordVersion is of the records that this release writes. One of a later version is read as far as it is understood: what
// must not be misread says so by a feature that it requires.
const recordVersion = 1

// features are those of networks that this release knows.
var features = []string{encrypted}

// encrypted is the feature of networks that go through WireGuard: a host that does not know it would send them in clear.
const encrypted = "encrypted"

// Cluster is what all hosts have in common.
type Cluster struct {
	Version int `json:"version"`
	// ID and Epoch are random. Another ID is another store; another epoch the same one, which went back.
	ID    string `json:"id"`
	Epoch string `json:"epoch"`
	// Past are the epochs before, the last first, separated by commas.
	Past string `json:"past,omitempty"`
	// Turned is the revision that began the epoch, once another one has changed the record since.
	Turned int64 `json:"turned,omitempty"`
	// ReclaimAfter is how long a host has to be dead before others may take its blocks, where there are no others.
	ReclaimAfter Duration `json:"reclaimAfter"`
	// Family of the underlay, 4 or 6.
	Family int `json:"family"`
	// Mixed says that agents of a former release may run, which read a host's address in its membership.
	Mixed bool `json:"mixed,omitempty"`
}

// turned is the revision that began the epoch, 0 for the first.
func (c Cluster) turned(kv etcd.KV) int64 {
	switch {
	case c.Past == "":
		return 0
	case c.Turned > 0:
		return c.Turned
	}
	return kv.Modified
}

// Duration is written as text, such as 24h0m0s.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Host is what a host says of itself. Keys that this release does not know are kept when it is written.
type Host struct {
	Version int `json:"version"`
	// VTEP is its address on the underlay, MTU that of the link, in bytes; 0: unknown.
	VTEP netip.Addr `json:"vtep"`
	MTU  int        `json:"mtu,omitempty"`
	// Machine tells machines apart: a hash of the machine ID.
	Machine string `json:"machine,omitempty"`
	// Release of fairwayd.
	Release string `json:"release,omitempty"`
	// PublicKey is the host's for encrypted networks; zero until it has needed one.
	PublicKey overlay.Key `json:"publicKey,omitzero"`
	// NextKey is there while the host replaces its key: it takes the place of PublicKey when the others have it.
	NextKey overlay.Key `json:"nextKey,omitzero"`

	published int64 // the revision of the record
}

// Member is a host's membership of one network.
type Member struct {
	Version int `json:"version,omitempty"`
	// VTEP and BootID are there in a Mixed cluster: a former release has no Host records.
	VTEP   netip.Addr `json:"vtep,omitzero"`
	BootID string     `json:"bootID,omitempty"`
}

// Pin is an address that an attachment has although its host does not own the block.
type Pin struct {
	Node        string `json:"node"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// The readers of records: what they refuse is left out and named, whoever wrote it.

func readCluster(value string) (c Cluster, err error) {
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		return c, err
	}
	if c.ID == "" || c.Epoch == "" || c.ReclaimAfter <= 0 {
		return c, errors.New("id, epoch or reclaimAfter is missing")
	}
	return c, nil
}

// readDefinition reads a network that Create may have written. Any other, made by hand, would have hosts count blocks that
// cannot be.
func readDefinition(name, value string) (n agentapi.Network, err error) {
	if err := json.Unmarshal([]byte(value), &n); err != nil {
		return n, err
	}
	if n.Name != name {
		return n, fmt.Errorf("it is of network %q", n.Name)
	}
	for _, feature := range n.Requires {
		if !slices.Contains(features, feature) {
			return n, fmt.Errorf("it requires %q, which this release does not know", feature)
		}
	}
	complete, err := Complete(n)
	if err == nil && (n.VNI == 0 || !complete.Same(n)) {
		err = invalidf("vni or a blockLength is missing: make networks by fairwayd, which chooses them")
	}
	return n, err
}

func readHost(value string) (h Host, err error) {
	if err := json.Unmarshal([]byte(value), &h); err != nil {
		return h, err
	}
	h.VTEP = h.VTEP.Unmap()
	return h, overlay.CheckVTEP(h.VTEP)
}

func readMember(value string) (m Member, err error) {
	if err := json.Unmarshal([]byte(value), &m); err != nil {
		return m, err
	}
	if m.VTEP = m.VTEP.Unmap(); m.VTEP.IsValid() {
		return m, overlay.CheckVTEP(m.VTEP)
	}
	if m.Version == 0 {
		return m, errors.New("it has neither an address nor a version")
	}
	return m, nil
}

func readOwner(value string) (string, error) { return value, CheckNode(value) }

func readPin(value string) (p Pin, err error) {
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return p, err
	}
	if p.Node == "" {
		return p, errors.New("it names no node")
	}
	return p, nil
}

// merged is a record with the keys of one that it replaces which this release does not know.
func merged(before string, record any) (string, error) {
	text, err := json.Marshal(record)
	if err != nil {
		return "", err
	}
	var all, own map[string]json.RawMessage
	if json.Unmarshal([]byte(before), &all) != nil || all == nil {
		return string(text), nil
	}
	if err := json.Unmarshal(text, &own); err != nil {
		return "", err
	}
	for _, key := range []string{"mtu", "machine", "release", "publicKey", "nextKey", "turned"} {
		delete(all, key) // own keys that are empty now
	}
	for key, value := range own {
		all[key] = value
	}
	text, err = json.Marshal(all)
	return string(text), err
}
