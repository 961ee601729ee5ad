package attachment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// keptDir is below libcni's directory. A file in it holds the ports that a container had when it was disconnected from a network: they
// belong to the container, as with Docker, and its runtime still shows them.
const keptDir = "fairway/kept"

// kept is a file there, named after the network and the mark. A container that was started again has published its ports anew, and is
// in another namespace.
type kept struct {
	// Netns is where the container's namespace is found, and Mark which one it is.
	Netns    string          `json:"netns"`
	Mark     string          `json:"mark"`
	Mappings json.RawMessage `json:"portMappings"`
}

// Disconnect is Detach of a container that goes on running: when Attach connects it to the network again, it publishes the same ports.
func (r Runtime) Disconnect(ctx context.Context, a Attachment) error {
	unlock, err := r.lockAttached(ctx, a)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.keepPorts(a); err != nil {
		return fmt.Errorf("network %s: container %s: published ports: %w", a.Network, a.DisplayName(), err)
	}
	return r.del(ctx, a)
}

// keepPorts writes down what an attachment publishes. Of a container that has gone there is nothing to keep.
func (r Runtime) keepPorts(a Attachment) error {
	r.forgetGone()
	mark, err := liveness.MarkAt(a.Path())
	if err != nil {
		return nil //nolint:nilerr // it has gone
	}
	if a.record == nil {
		return nil // no runtime's record is known
	}
	mappings, err := a.published()
	if err != nil || mappings == nil {
		return err
	}
	content, err := json.Marshal(kept{Netns: a.Path(), Mark: mark.String(), Mappings: mappings})
	if err != nil {
		return err
	}
	path := r.keptFile(a.Network, mark)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// published is the ports that the runtime asked for, as the capability has them, without those that "fairway unpublish" has taken back, and
// with the sockets that are open there: the runtime holds them for the container, or ADD would have refused. Nil: none.
func (a Attachment) published() (json.RawMessage, error) {
	given, ok := a.record.CapabilityArgs[capPorts].([]any)
	if !ok || len(given) == 0 {
		return nil, nil
	}
	k, err := kernel.Open("")
	if err != nil {
		return nil, err
	}
	defer k.Close()
	byOwner, err := ports.ByOwner(k)
	if err != nil {
		return nil, err
	}
	waiting, err := waitingAt(k)
	if err != nil {
		return nil, err
	}
	own := byOwner[a.Owner().Tag()]
	all := len(own) == 0 && !a.publishesItself() // by another suite's plugin
	var list []map[string]any
	for _, each := range given {
		mapping, ok := each.(map[string]any)
		at := placeOf(mapping)
		if !ok || !all && !ports.Taken(map[string][]ports.Port{"": own}, at.protocol, at.port) {
			continue
		}
		mapping = maps.Clone(mapping) // DEL gets the record as it is
		delete(mapping, "heldBy")
		if held := waiting[at]; len(held) > 0 {
			mapping["heldBy"] = held
		}
		list = append(list, mapping)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return json.Marshal(list)
}

// publishesItself says whether the plugin that made the interface is also the one that publishes ports, which only fairway's do.
func (a Attachment) publishesItself() bool {
	conf, err := a.configuration()
	return err == nil && conf.Plugins[0].Network.Capabilities[capPorts]
}

// place is a port of the host.
type place struct {
	protocol uint8
	port     uint16
}

// placeOf is the host's side of a mapping.
func placeOf(mapping map[string]any) (at place) {
	name, _ := mapping["protocol"].(string)
	number, _ := mapping["hostPort"].(float64) // as package json reads it
	at.protocol, _ = ports.ProtocolNumber(strings.ToLower(cmp.Or(name, "tcp")))
	at.port = uint16(number)
	return at
}

// waitingAt is the sockets of the host that wait at its ports, by their inodes.
func waitingAt(k *kernel.Kernel) (map[place][]uint32, error) {
	found := map[place][]uint32{}
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		sockets, err := k.ListeningSockets(protocol)
		if err != nil {
			return nil, err
		}
		for _, s := range sockets {
			at := place{protocol, s.Local.Port()}
			found[at] = append(found[at], s.Inode)
		}
	}
	return found, nil
}

// restorePorts adds the ports that were kept to a request that names none. forget is called when they are published.
func (r Runtime) restorePorts(conf *libcni.NetworkConfigList, rt *libcni.RuntimeConf) (forget func()) {
	mark, err := liveness.MarkAt(rt.NetNS)
	if err != nil {
		return func() {} // it is the plugins' to say what is wrong
	}
	path := r.keptFile(conf.Name, mark)
	forget = func() { _ = os.Remove(path) } // a later Disconnect writes it anew
	content, err := os.ReadFile(path)
	var found kept
	switch {
	case err != nil || json.Unmarshal(content, &found) != nil:
		// The usual case. Half a file is that of a Disconnect which was killed before DEL.
	case rt.CapabilityArgs[capPorts] != nil:
	case !Publishes(conf):
		r.warn(fmt.Errorf("network %s publishes no ports any more: those of container %s are lost", conf.Name, rt.ContainerID))
	default:
		rt.CapabilityArgs[capPorts] = found.Mappings
	}
	return forget
}

// forgetGone removes what was kept for containers that have gone.
func (r Runtime) forgetGone() {
	files, _ := filepath.Glob(filepath.Join(r.dir(), keptDir, "*")) // the pattern is sound, unless the directory's name is odd
	for _, path := range files {
		content, err := os.ReadFile(path)
		var found kept
		if err != nil || json.Unmarshal(content, &found) != nil {
			continue // another process is writing it
		}
		if mark, err := liveness.MarkAt(found.Netns); err != nil || mark.String() != found.Mark {
			_ = os.Remove(path) // the next one tries again
		}
	}
}

func (r Runtime) keptFile(network string, mark liveness.Mark) string {
	sum := sha256.Sum256([]byte(network + "\x00" + mark.String()))
	return filepath.Join(r.dir(), keptDir, hex.EncodeToString(sum[:16]))
}
