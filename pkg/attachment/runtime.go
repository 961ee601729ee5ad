package attachment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Runtime executes CNI plugins, as a container runtime does.
type Runtime struct {
	// Cache is libcni's directory. Empty: /var/lib/cni, which all runtimes share.
	Cache string
	// Plugins are the directories with the plugins' binaries, as in CNI_PATH.
	Plugins []string
	// Stderr gets what plugins say beside their result: warnings. Nil: it is dropped.
	Stderr io.Writer
	// Netconf is the directory of the networks' files. They are read for attachments whose record holds no configuration. Empty: there are
	// none.
	Netconf string
	// Holders tells of owners on a network who may live, beyond those that records and links tell of. Nil: there are none.
	Holders func(*libcni.NetworkConfigList) []state.Owner
	// Prune takes away what the kernel has of a network's owners that are not valid, after the network's plugins were asked to: they may be
	// another suite's, or the network of a CNI version without GC. Nil: nobody does.
	Prune func(network string, valid []state.Owner) error
	// Names tells what people call containers whose records do not say, by the ID that CNI was given. Nil: nobody knows.
	Names func() map[string]string
	// Warn is told of what does not stop the work. Nil: it is dropped.
	Warn func(error)
}

var (
	// ErrConnected says that the container has an interface on the network already.
	ErrConnected = errors.New("is already connected")
	// ErrNotConnected says that the container has no interface on the network.
	ErrNotConnected = errors.New("is not connected")
)

// undoLimit bounds what is taken back after a failure, also when the caller's time is over.
const undoLimit = 30 * time.Second

func (r Runtime) libcni() *libcni.CNIConfig { return r.libcniIn(r.dir()) }

// libcniIn is for the records of one cache.
func (r Runtime) libcniIn(cache string) *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(r.Plugins, cache, r.exec())
}

// Exec executes plugins as the Runtime does: what a plugin has started ends with the context, and is not waited for.
func (r Runtime) Exec() invoke.Exec { return r.exec() }

func (r Runtime) exec() invoke.Exec {
	stderr := r.Stderr
	if stderr == nil {
		stderr = io.Discard
	}
	return &execution{stderr: stderr}
}

// Attach runs ADD. When it fails, or the network does not give what was requested, DEL has been run as well. The error
// wraps ErrConnected when the container is on the network already, and conflist.ErrNotFound when the network was removed.
//
// What a killed call of fairway's has left on the network is taken away first, and a plugin that outlives such a call is waited for: its DEL
// would take what this ADD gives.
func (r Runtime) Attach(ctx context.Context, network *libcni.NetworkConfigList, request Request) (Attachment, error) {
	unlock, err := r.lockShared(ctx, network.Name)
	if err != nil {
		return Attachment{}, err
	}
	defer unlock()
	if request.File != "" { // nobody removes it as long as the network is locked
		defined, err := conflist.Again(request.File, network.Name)
		if err != nil {
			return Attachment{}, err
		}
		network = defined.List
	}
	unlockNetns, err := lockNetns(ctx, request.Netns)
	if err != nil {
		return Attachment{}, err
	}
	defer unlockNetns()
	if _, err := r.takeBackInterrupted(ctx, network.Name); err != nil {
		return Attachment{}, err
	}
	if !request.New {
		if err := awaitIdle(ctx, request.ID); err != nil {
			return Attachment{}, fmt.Errorf("network %s: %w", network.Name, err)
		}
	}
	if request.IfName, err = r.place(ctx, network.Name, request); err != nil {
		return Attachment{}, err
	}
	return r.attach(ctx, network, request)
}

// attach is Attach once the place is known. From before ADD until libcni has recorded it, a file says what is being made.
func (r Runtime) attach(ctx context.Context, network *libcni.NetworkConfigList, request Request) (Attachment, error) {
	conf, rt, err := request.configure(network)
	if err != nil {
		return Attachment{}, err
	}
	if err := pin(ctx, network, request); err != nil {
		return Attachment{}, err
	}
	forget := r.restorePorts(conf, rt)
	done, err := r.begin(ctx, conf, rt)
	if err != nil {
		return Attachment{}, err
	}
	a, err := r.add(ctx, conf, rt)
	if err == nil {
		err = request.honouredBy(a)
	}
	if err == nil {
		done()
		forget()
		return a, nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	undone := pluginError(network.Name, r.libcni().DelNetworkList(undo, conf, rt))
	if undone == nil {
		done()
	}
	return Attachment{}, errors.Join(err, undone)
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

// place gives the name of the interface: the requested one, or the next ethN that is free. What was left on the network by
// containers of fairway's that have gone is taken away, and what a container of that name has left.
func (r Runtime) place(ctx context.Context, network string, request Request) (string, error) {
	all, damaged, err := r.near(request.Netns, network, request.ID)
	if err != nil {
		return "", err
	}
	r.setAsideOf(network, damaged)
	taken, err := linkNames(request.Netns)
	if err != nil {
		return "", err
	}
	there, err := kernel.Identify(request.Netns)
	if err != nil {
		return "", err
	}
	for _, a := range all {
		same := a.in(there, request.Netns)
		switch {
		case a.Network == network && (a.ID == request.ID || a.mark != (liveness.Mark{})) && !a.Alive():
			if err := r.del(ctx, a); err != nil {
				return "", err
			}
		case !same || !a.Alive():
		case a.Network == network:
			return "", fmt.Errorf("container %s %w to network %s by its interface %s%s", request.DisplayName(), ErrConnected, network, a.IfName, a.unrecordedNote())
		default:
			taken = append(taken, a.IfName)
		}
	}
	name := request.IfName
	switch {
	case name == "":
		name = nextIfName(taken)
	case name != "lo" && slices.Contains(taken, name): // lo is always there, and is what the plugin none is asked for
		return "", fmt.Errorf("container %s has an interface %s already: choose another name", request.DisplayName(), name)
	}
	return name, nil
}

// unrecordedNote adds to a sentence that no record is known of.
func (a Attachment) unrecordedNote() string {
	if a.Unrecorded {
		return ", of which no record is known"
	}
	return ""
}

// Detach runs DEL with the configuration that ADD had, or where that is unknown with the network's own, and forgets the
// attachment. A namespace that has gone is no obstacle.
func (r Runtime) Detach(ctx context.Context, a Attachment) error {
	unlock, err := r.lockAttached(ctx, a)
	if err != nil {
		return err
	}
	defer unlock()
	return r.del(ctx, a)
}

// Hold calls f while nobody of fairway's attaches or detaches the container, or removes the network. The error wraps ErrNotConnected when
// the container was detached before.
func (r Runtime) Hold(ctx context.Context, a Attachment, f func() error) error {
	unlock, err := r.lockAttached(ctx, a)
	if err != nil {
		return err
	}
	defer unlock()
	if !a.Unrecorded && !recorded(a.file()) {
		return fmt.Errorf("container %s %w to network %s", a.DisplayName(), ErrNotConnected, a.Network)
	}
	return f()
}

func (r Runtime) del(ctx context.Context, a Attachment) error {
	if a.tagOnly {
		return fmt.Errorf("network %s: the owner of %s is not known: remove its container", a.Network, a.ID)
	}
	conf, unusable := a.configuration()
	if unusable != nil {
		var err error
		if conf, err = r.defined(a.Network); err != nil {
			if !a.Unrecorded {
				r.setAside(a.file(), unusable)
				return nil
			}
			return errors.Join(unusable, err)
		}
	}
	return pluginError(a.Network, r.libcniIn(cmp.Or(a.cache, r.dir())).DelNetworkList(ctx, conf, a.runtimeConf()))
}

// defined is a network as its file has it.
func (r Runtime) defined(network string) (*libcni.NetworkConfigList, error) {
	networks, err := conflist.Load(r.Netconf)
	if err != nil {
		return nil, err
	}
	for _, n := range networks.All {
		if n.Name == network && n.List != nil {
			return n.List, nil
		}
	}
	return nil, fmt.Errorf("network %s %w", network, conflist.ErrNotFound)
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
	if a.record == nil {
		return &libcni.RuntimeConf{ContainerID: a.ID, NetNS: a.Netns, IfName: a.IfName}
	}
	return &libcni.RuntimeConf{
		ContainerID: a.ID, NetNS: a.Netns, IfName: a.IfName, Args: a.record.CniArgs, CapabilityArgs: a.record.CapabilityArgs,
	}
}

// configuration is what ADD had: a list, or a single plugin of a runtime that is content with one.
func (a Attachment) configuration() (*libcni.NetworkConfigList, error) {
	if a.record == nil {
		return nil, fmt.Errorf("container %s on network %s has no record", a.DisplayName(), a.Network)
	}
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
