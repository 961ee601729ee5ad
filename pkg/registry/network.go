package registry

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// tries is how often a transaction that lost against others is made again: each time, one of the others has won.
const tries = 64

// Create makes a network and gives it back with its VNI. A network of the same definition that is there is a success.
// Errors are agentapi's ErrInvalid, ErrExists and ErrUnavailable.
func (c *Client) Create(ctx context.Context, asked agentapi.Network) (agentapi.Network, error) {
	asked, err := Complete(asked)
	if err != nil {
		return asked, err
	}
	asked.Created = time.Now().UTC().Truncate(time.Second)
	return c.make(ctx, asked, satisfies)
}

// Restore makes a network again that the store has lost, as a host remembers it. That it is there is a success. Errors as of
// Create.
func (c *Client) Restore(ctx context.Context, n agentapi.Network) error {
	_, err := c.make(ctx, n, agentapi.Network.Same)
	return err
}

// make makes a network, unless same says that the one which is there is as good.
func (c *Client) make(ctx context.Context, asked agentapi.Network, same func(made, asked agentapi.Network) bool) (agentapi.Network, error) {
	for range tries {
		revision, others, err := c.definitions(ctx)
		if err != nil {
			return asked, err
		}
		if made, there := others[asked.Name]; there {
			if same(made, asked) {
				return made, nil
			}
			return asked, existsf("network %s exists with another definition: delete it first, or choose another name", asked.Name)
		}
		if err := conflict(asked, others); err != nil {
			return asked, err
		}
		if made, won, err := c.create(ctx, asked, revision, others); won || err != nil {
			return made, err
		}
	}
	return asked, busy("network "+asked.Name, etcd.ErrUnavailable)
}

// create tries once. No definition may have appeared since the others were read, as it might overlap.
func (c *Client) create(ctx context.Context, n agentapi.Network, revision int64, others map[string]agentapi.Network) (agentapi.Network, bool, error) {
	for n.VNI == 0 {
		n.VNI = freeVNI(others)
	}
	if n.Encrypted && n.WireguardPort == 0 {
		n.WireguardPort = freePort(others)
	}
	value, err := json.Marshal(n)
	if err != nil {
		return n, false, err
	}
	response, err := c.attempt(ctx,
		[]etcd.Condition{etcd.Absent(networkKey(n.Name)), etcd.Absent(vniKey(n.VNI)), etcd.UnchangedSince(networks, revision)},
		[]etcd.Op{etcd.Set(networkKey(n.Name), string(value)), etcd.Set(vniKey(n.VNI), n.Name)}, nil)
	return n, err == nil && response.Done, err
}

// freeVNI chooses at random among those that no network has.
func freeVNI(others map[string]agentapi.Network) uint32 {
	vni := overlay.FirstVNI + rand.Uint32N(maxVNI+1-overlay.FirstVNI)
	for _, other := range others {
		if other.VNI == vni {
			return 0
		}
	}
	return vni
}

// freePort is the lowest UDP port from the default on that no network has: whoever keeps a firewall lets in a few in a row.
func freePort(others map[string]agentapi.Network) uint16 {
	taken := make(map[uint16]bool, len(others))
	for _, other := range others {
		taken[other.WireguardPort], taken[overlay.SparePort(other.WireguardPort)] = true, true
	}
	port := uint16(overlay.DefaultWireguardPort)
	for taken[port] || taken[overlay.SparePort(port)] {
		port++
	}
	return port
}

// definitions reads all networks, and the revision they are of.
func (c *Client) definitions(ctx context.Context) (int64, map[string]agentapi.Network, error) {
	revision, list, err := c.list(ctx, etcd.Prefix(networks))
	if err != nil {
		return 0, nil, err
	}
	all := make(map[string]agentapi.Network, len(list))
	for _, kv := range list {
		name := strings.TrimPrefix(kv.Key, networks)
		all[name] = outline(name, kv.Value)
	}
	return revision, all, nil
}

// outline is a definition as far as it can be read, so that no other network gets its name, VNI or subnets.
func outline(name, value string) agentapi.Network {
	n, err := readDefinition(name, value)
	if err == nil {
		return n
	}
	var parts struct {
		VNI     uint32            `json:"vni"`
		Port    uint16            `json:"wireguardPort"`
		Subnets []json.RawMessage `json:"subnets"`
	}
	n = agentapi.Network{Name: name}
	if json.Unmarshal([]byte(value), &parts) != nil {
		return n
	}
	n.VNI, n.WireguardPort = parts.VNI, parts.Port
	for _, text := range parts.Subnets {
		var s agentapi.Subnet
		if json.Unmarshal(text, &s) == nil && s.Prefix.IsValid() {
			n.Subnets = append(n.Subnets, s)
		}
	}
	return n
}

// Delete removes a network with all that belongs to it. Errors are agentapi's ErrNotFound, ErrInUse, which names the hosts
// that have containers on it, and ErrUnavailable.
func (c *Client) Delete(ctx context.Context, name string) error {
	for range tries {
		kv, found, err := c.get(ctx, networkKey(name))
		if err != nil {
			return err
		}
		if !found {
			return notFound(name)
		}
		then := []etcd.Op{etcd.Remove(networkKey(name)), etcd.Remove(wantedKey(name)), etcd.RemoveAll(netPrefix(name))}
		if n := outline(name, kv.Value); n.VNI != 0 {
			then = append(then, etcd.Remove(vniKey(n.VNI)))
		}
		users := partPrefix(name, usedPart)
		response, err := c.attempt(ctx, []etcd.Condition{etcd.ModifiedAt(networkKey(name), kv.Modified), etcd.NoneIn(users)}, then,
			[]etcd.Op{{Key: users, End: etcd.PrefixEnd(users), KeysOnly: true}})
		if err != nil || response.Done {
			return err
		}
		if nodes := usersIn(response, name); len(nodes) > 0 {
			return inUsef("network %s is in use: remove its containers on %s first", name, hostsOf(nodes))
		}
	}
	return busy("network "+name, etcd.ErrUnavailable)
}

func usersIn(response etcd.Result, network string) []string {
	var nodes []string
	for _, kv := range response.Pages[0].KVs {
		nodes = append(nodes, strings.TrimPrefix(kv.Key, partPrefix(network, usedPart)))
	}
	slices.Sort(nodes)
	return nodes
}

// busy is the error of a transaction that others won against too often.
func busy(what string, kind error) error {
	return &sentence{kind, what + " is being changed by many hosts at once: try again"}
}
