package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
)

// conflists keeps the networks in the directory where the runtimes look.
type conflists struct {
	dir     string
	path    func(network string) string // of a snapshot
	socket  string
	dataDir string            // host-local's
	files   map[string]string // of networks, as far as they are known to be the agent's
}

func newConflists(c Config, s store) conflists {
	return conflists{
		dir: c.NetconfDir, path: s.path, socket: agentapi.Socket(c.RunDir), dataDir: c.DataDir, files: make(map[string]string),
	}
}

// pluginConf is the configuration of plugin overlay-vxlan.
type pluginConf struct {
	Type string `json:"type"`
	// VNI is left out of an encrypted network: the peers' file has it, and a plugin of a release that does not encrypt refuses.
	VNI      uint32   `json:"vni,omitempty"`
	Subnets  []string `json:"subnets"`
	MTU      int      `json:"mtu,omitempty"`
	Internal bool     `json:"internal,omitempty"`
	IPMasq   bool     `json:"ipMasq,omitempty"`
	// Encrypted: the peers' file has to say so, too.
	Encrypted bool `json:"encrypted,omitempty"`
	// PeersFile is the agent's snapshot, Agent its socket.
	PeersFile string `json:"peersFile"`
	Agent     string `json:"agent"`
	// IPAM says where addresses are kept; nil for host-local's default.
	IPAM *ipamConf `json:"ipam,omitempty"`
	// Names: containers find each other by name; nil: they do not.
	Names *namesConf `json:"names,omitempty"`
	// Capabilities: what runtimes may ask for.
	Capabilities map[string]bool `json:"capabilities"`
}

// namesConf is the key names of a network (docs/names.md).
type namesConf struct {
	Host bool `json:"host,omitempty"`
}

type ipamConf struct {
	Type    string `json:"type"`
	DataDir string `json:"dataDir"`
}

// definitionOf is the network as a conflist.
func (c conflists) definitionOf(n agentapi.Network) conflist.Definition {
	plugin := pluginConf{
		Type: "overlay-vxlan", VNI: n.VNI, MTU: n.MTU, Internal: n.Internal, IPMasq: n.IPMasq,
		PeersFile: c.path(n.Name), Agent: c.socket, Capabilities: map[string]bool{"ips": true, "mac": true},
	}
	if !n.WithoutNames {
		plugin.Names = &namesConf{Host: n.HostGateway}
		plugin.Capabilities["aliases"], plugin.Capabilities["dns"] = true, true
	}
	if plugin.Encrypted = n.Encrypted; n.Encrypted {
		plugin.VNI = 0
	}
	if !n.Internal {
		plugin.Capabilities["portMappings"] = true
	}
	if c.dataDir != hostlocal.DefaultDataDir {
		plugin.IPAM = &ipamConf{Type: "host-local", DataDir: c.dataDir}
	}
	for _, s := range n.Subnets {
		plugin.Subnets = append(plugin.Subnets, s.Prefix.String())
	}
	return conflist.Definition{
		Name: n.Name, CNIVersions: []string{"1.0.0", "1.1.0"}, Plugins: []any{plugin}, Labels: n.Labels,
		About: conflist.About{Driver: "overlay", Created: n.Created, Options: n.Options, Internal: n.Internal, Agent: true},
	}
}

// ensure writes the network's file unless it is there as it has to be. A network of that name that somebody else made is an
// error, and stays.
func (c conflists) ensure(n agentapi.Network) error {
	definition := c.definitionOf(n)
	want, err := definition.Encode()
	if err != nil {
		return err
	}
	if content, err := os.ReadFile(c.files[n.Name]); err == nil && bytes.Equal(content, want) {
		return nil
	}
	lock, err := conflist.Acquire(c.dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	written, err := lock.Replace(definition)
	switch {
	case errors.Is(err, conflist.ErrExists):
		return fmt.Errorf("%w: rename that one, or remove it", err)
	case err != nil:
		return err
	}
	c.files[n.Name] = written.File
	return nil
}

// find is the file of a network that an agent wrote; empty when there is none.
func (c conflists) find(name string) (string, error) {
	all, err := conflist.Load(c.dir)
	if err != nil {
		return "", err
	}
	for _, n := range all.All {
		if n.Name == name && n.Agent {
			return n.File, nil
		}
	}
	return "", nil
}

// made are the networks whose files this agent wrote, as far as these tell.
func (c conflists) made() (map[string]agentapi.Network, error) {
	all, err := conflist.Load(c.dir)
	if err != nil {
		return nil, err
	}
	made := make(map[string]agentapi.Network)
	for _, n := range all.All {
		if !n.Agent || n.List == nil || len(n.List.Plugins) == 0 {
			continue
		}
		var plugin pluginConf
		if err := json.Unmarshal(n.List.Plugins[0].Bytes, &plugin); err != nil || plugin.PeersFile != c.path(n.Name) {
			continue // another agent's, or changed by hand
		}
		definition := agentapi.Network{Name: n.Name, VNI: plugin.VNI}
		for _, text := range plugin.Subnets {
			if prefix, err := netip.ParsePrefix(text); err == nil {
				definition.Subnets = append(definition.Subnets, agentapi.Subnet{Prefix: prefix})
			}
		}
		made[n.Name] = definition
	}
	return made, nil
}

// remove deletes the network's file, if an agent wrote it.
func (c conflists) remove(name string) error {
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	delete(c.files, name)
	lock, err := conflist.Acquire(c.dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	file, err := c.find(name)
	if err != nil || file == "" {
		return err
	}
	return lock.Remove(conflist.Network{Name: name, File: file})
}
