package conflist

import (
	"encoding/json"
	"time"
)

// About is the object "fairway" of a conflist: what was asked for, where the plugins' keys do not say it.
type About struct {
	// Driver is Docker's name.
	Driver  string    `json:"driver"`
	Created time.Time `json:"created,omitzero"`
	// Options are the driver's, as given.
	Options map[string]string `json:"options,omitempty"`
	Pools   []Pool            `json:"ipam,omitempty"`
	// IPAMDriver and IPAMOptions are as given. Empty: host-local.
	IPAMDriver  string            `json:"ipamDriver,omitempty"`
	IPAMOptions map[string]string `json:"ipamOptions,omitempty"`
	// IPv6 says that an IPv6 subnet is to be chosen where Pools has none. It is for ConfigOnly.
	IPv6 bool `json:"ipv6,omitempty"`
	// NoIPv4 says that no IPv4 subnet is to be chosen. It is for ConfigOnly.
	NoIPv4     bool   `json:"noIPv4,omitempty"`
	Internal   bool   `json:"internal,omitempty"`
	Attachable bool   `json:"attachable,omitempty"`
	ConfigFrom string `json:"configFrom,omitempty"`
	ConfigOnly bool   `json:"configOnly,omitempty"`
	// Agent: the node agent wrote the file, on every host of the network, and takes it away again.
	Agent bool `json:"agent,omitempty"`
}

// file is a conflist's top level.
type file struct {
	CNIVersion    string            `json:"cniVersion"`
	CNIVersions   []string          `json:"cniVersions,omitempty"`
	Name          string            `json:"name"`
	NerdctlID     string            `json:"nerdctlID,omitempty"`
	NerdctlLabels map[string]string `json:"nerdctlLabels,omitzero"`
	Fairway       *About            `json:"fairway,omitempty"`
	// Args is where podman 4 keeps labels.
	Args *struct {
		PodmanLabels map[string]string `json:"podman_labels"`
	} `json:"args,omitempty"`
	Plugins []json.RawMessage `json:"plugins,omitempty"`
}
