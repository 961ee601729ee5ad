package registry

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairway-cni/fairway/pkg/agentapi"
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
	for range tries {
		revision, others, err := c.definitions(ctx)
		if err != nil {
			return asked, err
		}
		if made, there := others[asked.Name]; there {
			if satisfies(made, asked) {
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
	return asked, busy("network "+asked.Name, agentapi.ErrUnavailable)
}

// create tries once. No definition may have appeared since the others were read, as it might overlap.
func (c *Client) create(ctx context.Context, n agentapi.Network, revision int64, others map[string]agentapi.Network) (agentapi.Network, bool, error) {
	for n.VNI == 0 {
		n.VNI = freeVNI(others)
	}
	n.Created = time.Now().UTC().Truncate(time.Second)
	value, err := json.Marshal(n)
	if err != nil {
		return n, false, err
	}
	response, err := c.attempt(ctx,
		[]clientv3.Cmp{
			clientv3.Compare(clientv3.CreateRevision(networkKey(n.Name)), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(vniKey(n.VNI)), "=", 0),
			clientv3.Compare(clientv3.ModRevision(networks).WithPrefix(), "<", revision+1),
		},
		[]clientv3.Op{clientv3.OpPut(networkKey(n.Name), string(value)), clientv3.OpPut(vniKey(n.VNI), n.Name)}, nil)
	return n, err == nil && response.Succeeded, err
}

// freeVNI chooses at random among those that no network has. Below 4096 they are left to people.
func freeVNI(others map[string]agentapi.Network) uint32 {
	const first = 4096
	vni := first + rand.Uint32N(maxVNI+1-first)
	for _, other := range others {
		if other.VNI == vni {
			return 0
		}
	}
	return vni
}

// definitions reads all networks, and the revision they are of.
func (c *Client) definitions(ctx context.Context) (int64, map[string]agentapi.Network, error) {
	response, err := c.get(ctx, networks, clientv3.WithPrefix())
	if err != nil {
		return 0, nil, err
	}
	all := make(map[string]agentapi.Network, len(response.Kvs))
	for _, kv := range response.Kvs {
		all[strings.TrimPrefix(string(kv.Key), networks)] = outline(kv)
	}
	return response.Header.Revision, all, nil
}

// outline is a definition as far as it can be read, so that no other network gets its name, VNI or subnets.
func outline(kv *mvccpb.KeyValue) agentapi.Network {
	name := strings.TrimPrefix(string(kv.Key), networks)
	n, err := readDefinition(name, kv.Value)
	if err == nil {
		return n
	}
	var parts struct {
		VNI     uint32            `json:"vni"`
		Subnets []json.RawMessage `json:"subnets"`
	}
	n = agentapi.Network{Name: name}
	if json.Unmarshal(kv.Value, &parts) != nil {
		return n
	}
	n.VNI = parts.VNI
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
		found, err := c.get(ctx, networkKey(name))
		if err != nil {
			return err
		}
		if len(found.Kvs) == 0 {
			return notFound(name)
		}
		kv := found.Kvs[0]
		var n agentapi.Network
		_ = json.Unmarshal(kv.Value, &n) // a definition that cannot be read goes, too
		response, err := c.attempt(ctx,
			[]clientv3.Cmp{
				clientv3.Compare(clientv3.ModRevision(networkKey(name)), "=", kv.ModRevision),
				clientv3.Compare(clientv3.CreateRevision(partPrefix(name, usedPart)).WithPrefix(), "=", 0),
			},
			[]clientv3.Op{
				clientv3.OpDelete(networkKey(name)),
				clientv3.OpDelete(vniKey(n.VNI)),
				clientv3.OpDelete(perNet+name+"/", clientv3.WithPrefix()),
			},
			[]clientv3.Op{clientv3.OpGet(partPrefix(name, usedPart), clientv3.WithPrefix(), clientv3.WithKeysOnly())})
		if err != nil || response.Succeeded {
			return err
		}
		if nodes := usersIn(response, name); len(nodes) > 0 {
			return inUsef("network %s is in use: remove its containers on %s first", name, hostsOf(nodes))
		}
	}
	return busy("network "+name, agentapi.ErrUnavailable)
}

func usersIn(response *clientv3.TxnResponse, network string) []string {
	var nodes []string
	for _, kv := range response.Responses[0].GetResponseRange().Kvs {
		nodes = append(nodes, strings.TrimPrefix(string(kv.Key), partPrefix(network, usedPart)))
	}
	slices.Sort(nodes)
	return nodes
}

// busy is the error of a transaction that others won against too often.
func busy(what string, kind error) error {
	return &sentence{kind, what + " is being changed by many hosts at once: try again"}
}
