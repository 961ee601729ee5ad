package attachment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// Runtime executes CNI plugins, as a container runtime does.
type Runtime struct {
	// Cache is libcni's directory. Empty: /var/lib/cni, which all runtimes share.
	Cache string
	// Plugins are the directories with the plugins' binaries, as in CNI_PATH.
	Plugins []string
	// Stderr gets what plugins say beside their result: warnings. Nil: it is dropped.
	Stderr io.Writer
}

var (
	// ErrConnected says that the container has an interface on the network already.
	ErrConnected = errors.New("is already connected")
	// ErrNotConnected says that the container has no interface on the network.
	ErrNotConnected = errors.New("is not connected")
)

// undoLimit bounds what is taken back after a failure, also when the caller's time is over.
const undoLimit = 30 * time.Second

func (r Runtime) libcni() *libcni.CNIConfig {
	stderr := r.Stderr
	if stderr == nil {
		stderr = io.Discard
	}
	exec := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: stderr}, PluginDecoder: version.PluginDecoder{}}
	return libcni.NewCNIConfigWithCacheDir(r.Plugins, r.Cache, exec)
}

// results is where libcni keeps its files.
func (r Runtime) results() string {
	dir := r.Cache
	if dir == "" {
		dir = libcni.CacheDir
	}
	return filepath.Join(dir, "results")
}

// Attach runs ADD. When it fails, or the network does not give what was requested, DEL has been run as well. The error
// wraps ErrConnected when the container is on the network already.
func (r Runtime) Attach(ctx context.Context, network *libcni.NetworkConfigList, request Request) (Attachment, error) {
	unlock, err := r.lockShared(ctx)
	if err != nil {
		return Attachment{}, err
	}
	defer unlock()
	unlockNetns, err := lockNetns(ctx, request.Netns)
	if err != nil {
		return Attachment{}, err
	}
	defer unlockNetns()

	if request.IfName, err = r.place(ctx, network.Name, request); err != nil {
		return Attachment{}, err
	}
	conf, rt, err := request.configure(network)
	if err != nil {
		return Attachment{}, err
	}
	if err := pin(ctx, network, request); err != nil {
		return Attachment{}, err
	}
	a, err := r.add(ctx, conf, rt)
	if err == nil {
		err = request.honouredBy(a)
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
		defer cancel()
		return Attachment{}, errors.Join(err, pluginError(network.Name, r.libcni().DelNetworkList(undo, conf, rt)))
	}
	return a, nil
}

func (r Runtime) add(ctx context.Context, conf *libcni.NetworkConfigList, rt *libcni.RuntimeConf) (Attachment, error) {
	answer, err := r.libcni().AddNetworkList(ctx, conf, rt)
	if err != nil {
		return Attachment{}, pluginError(conf.Name, err)
	}
	result, err := types100.NewResultFromResult(answer)
	if err != nil {
		return Attachment{}, fmt.Errorf("network %s: result of ADD: %w", conf.Name, err)
	}
	return describe(&libcni.NetworkAttachment{
		ContainerID: rt.ContainerID, Network: conf.Name, IfName: rt.IfName, NetNS: rt.NetNS, Config: conf.Bytes,
		CniArgs: rt.Args, CapabilityArgs: rt.CapabilityArgs,
	}, result), nil
}

// place gives the name of the interface: the requested one, or the next ethN that is free. What a container of that name
// has left of an attachment is taken away first.
func (r Runtime) place(ctx context.Context, network string, request Request) (string, error) {
	all, err := r.List()
	if err != nil {
		return "", err
	}
	taken, err := linkNames(request.Netns)
	if err != nil {
		return "", err
	}
	for _, a := range all {
		if !a.In(request.Netns) || !a.Alive() {
			continue
		}
		if a.Network == network {
			return "", fmt.Errorf("container %s %w to network %s by its interface %s", request.DisplayName(), ErrConnected, network, a.IfName)
		}
		taken = append(taken, a.IfName)
	}
	name := request.IfName
	switch {
	case name == "":
		name = nextIfName(taken)
	case name != "lo" && slices.Contains(taken, name): // lo is always there, and is what the plugin none is asked for
		return "", fmt.Errorf("container %s has an interface %s already: choose another name", request.DisplayName(), name)
	}
	for _, a := range all {
		if a.Network == network && a.ID == request.ID && a.IfName == name && !a.Alive() {
			return name, r.del(ctx, a)
		}
	}
	return name, nil
}

// Detach runs DEL with the configuration that ADD had, and forgets the attachment. A namespace that has gone is no obstacle.
func (r Runtime) Detach(ctx context.Context, a Attachment) error {
	unlock, err := r.lockShared(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return r.del(ctx, a)
}

func (r Runtime) del(ctx context.Context, a Attachment) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	return pluginError(a.Network, r.libcni().DelNetworkList(ctx, conf, a.runtimeConf()))
}

// Check runs CHECK. A configuration older than CNI 0.4.0 has none, which is an error.
func (r Runtime) Check(ctx context.Context, a Attachment) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	return pluginError(a.Network, r.libcni().CheckNetworkList(ctx, conf, a.runtimeConf()))
}

func (a Attachment) runtimeConf() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: a.ID, NetNS: a.Netns, IfName: a.IfName, Args: a.record.CniArgs, CapabilityArgs: a.record.CapabilityArgs,
	}
}

// configuration is what ADD had: a list, or a single plugin of a runtime that is content with one.
func (a Attachment) configuration() (*libcni.NetworkConfigList, error) {
	if list, err := libcni.NetworkConfFromBytes(a.record.Config); err == nil && len(list.Plugins) > 0 {
		return list, nil
	}
	plugin, err := libcni.NetworkPluginConfFromBytes(a.record.Config)
	if err != nil {
		return nil, fmt.Errorf("network %s: configuration in CNI's result cache: %w", a.Network, err)
	}
	list := fmt.Appendf(nil, `{"cniVersion": %q, "name": %q, "plugins": [%s]}`, plugin.Network.CNIVersion, a.Network, plugin.Bytes)
	return libcni.NetworkConfFromBytes(list)
}

// pluginError is what a plugin said, or what kept it from being executed.
func pluginError(network string, err error) error {
	var said *types.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return fmt.Errorf("network %s: %w", network, said)
	}
	return fmt.Errorf("network %s: %w", network, err)
}
