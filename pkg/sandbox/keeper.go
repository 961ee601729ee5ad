package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Descriptors in the keeper: the network namespace, and the file by which the container has its name.
const (
	keeperNetns = 3
	keeperName  = 4
)

// pluginLimit bounds each ADD and DEL.
const pluginLimit = 2 * time.Minute

// order is what the keeper is asked for, once.
type order struct {
	ID, Name    string
	Endpoints   []placement
	HostNetwork bool
	Sysctls     []kernel.Assignment
	Cache       string
	Plugins     []string
	Netconf     string
}

// placement is an Endpoint on its way to another process.
type placement struct {
	Name     string
	Conflist []byte
	Request  attachment.Request
}

// reply is the keeper's answer to an order: attachments, or what went wrong, after which nothing is attached.
type reply struct {
	Attached []attachment.Attachment
	Problem  string
}

// keeper is the process that attaches, as Run's process sees it.
type keeper struct {
	cmd   *exec.Cmd
	alive io.WriteCloser // the keeper detaches when it is closed, by us or by our end
	netns *os.File
	order order
	ended chan struct{} // closed when the keeper has ended; err is how
	err   error
}

// interrupted says that a signal has ended the container before its command was started.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// startKeeper gives the namespace to a keeper, and waits until it has attached it, or until a signal asks for the end.
func startKeeper(netns, name *os.File, o order, signals <-chan os.Signal) (*keeper, []attachment.Attachment, error) {
	k := &keeper{cmd: exec.Command(self), netns: netns, order: o, ended: make(chan struct{})}
	k.cmd.Args = []string{nameKeeper, o.Name}
	k.cmd.ExtraFiles = []*os.File{netns, name}
	k.cmd.Stderr = os.Stderr
	// The terminal's signals are not for it, nor is its end.
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var err error
	if k.alive, err = k.cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	answers, err := k.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := k.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("keeper: %w", err)
	}
	if err := json.NewEncoder(k.alive).Encode(o); err != nil {
		go k.wait()
		return nil, nil, errors.Join(fmt.Errorf("keeper: %w", err), k.release())
	}
	replied := make(chan replyOrError, 1)
	go func() {
		var r replyOrError
		r.err = json.NewDecoder(answers).Decode(&r.reply)
		replied <- r
		k.wait() // which closes the pipes, and therefore has to be after they were read
	}()
	for {
		select {
		case s := <-signals:
			if s, ends := s.(syscall.Signal); ends && slices.Contains(ending, s) {
				k.abandon()
				return nil, nil, interrupted{s}
			}
		case r := <-replied:
			switch {
			case r.err != nil:
				return nil, nil, errors.Join(fmt.Errorf("keeper: no answer: %w", r.err), k.release())
			case r.Problem != "":
				return nil, nil, errors.Join(errors.New(r.Problem), k.release())
			}
			return k, r.Attached, nil
		}
	}
}

type replyOrError struct {
	reply
	err error
}

// ending are the signals that end a container which has not begun.
var ending = []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}

// abandon lets the keeper end what it is doing, and waits for that no longer than a person would: the keeper goes on by itself.
func (k *keeper) abandon() {
	const patience = 800 * time.Millisecond
	_ = k.alive.Close() // it may have been closed with the keeper
	select {
	case <-k.ended:
	case <-time.After(patience):
		fmt.Fprintln(os.Stderr, "fairway: a plugin does not end: the networks are detached in the background")
	}
}

func (k *keeper) wait() {
	k.err = k.cmd.Wait()
	close(k.ended)
}

// release lets the keeper detach, and waits for it. It has said itself what went wrong. When it was killed before, this
// process detaches in its place.
func (k *keeper) release() error {
	_ = k.alive.Close() // it may have been closed with the keeper
	<-k.ended
	err := k.err
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		err = k.replace()
	}
	if err != nil {
		return fmt.Errorf("not all of the container's networks could be detached (%w): \"fairway gc\" tries again", err)
	}
	return nil
}

// replace detaches what the keeper had attached, by our own descriptor of the namespace.
func (k *keeper) replace() error {
	runtime := k.order.runtime()
	left := k.order.present(runtime, nil)
	for i := range left {
		left[i].Netns = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), k.netns.Fd())
	}
	errs := []error{detach(runtime, left)}
	for _, p := range k.order.Endpoints {
		ctx, cancel := context.WithTimeout(context.Background(), pluginLimit)
		errs = append(errs, runtime.TakeBack(ctx, p.Name))
		cancel()
	}
	runtime.ReleaseName(k.order.Name)
	return errors.Join(errs...)
}

// keep is the keeper's process.
func keep() int {
	// Whoever ends everything ends Run's process too, and then it is time to detach. Nobody may read what is said then.
	surviveReaders()
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT)
	unix.CloseOnExec(keeperNetns)
	unix.CloseOnExec(keeperName)
	_ = os.WriteFile("/proc/self/comm", []byte(nameKeeper), 0) // for ps(1) only
	in := json.NewDecoder(os.Stdin)
	var o order
	if err := in.Decode(&o); err != nil {
		return 0 // Run's process has gone before it asked for anything
	}
	ctx, end := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until its end; an error is one too
		end()
	}()
	runtime := o.runtime()
	defer runtime.ReleaseName(o.Name)
	attached, err := o.attach(ctx, runtime)
	r := reply{Attached: attached}
	if err != nil {
		r.Problem = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(r) // who has gone needs no answer
	os.Stdout.Close()
	<-ctx.Done()
	if err := detach(runtime, o.present(runtime, attached)); err != nil {
		fmt.Fprintf(os.Stderr, "fairway: %v\n", err)
		return 1
	}
	return 0
}

func (o order) runtime() attachment.Runtime {
	return attachment.Runtime{Cache: o.Cache, Plugins: o.Plugins, Netconf: o.Netconf, Stderr: os.Stderr}
}

// present is the container's attachments at its end: it may have been connected and disconnected meanwhile.
func (o order) present(r attachment.Runtime, first []attachment.Attachment) (present []attachment.Attachment) {
	all, err := r.List()
	if err != nil {
		return first // DEL may be repeated
	}
	for _, a := range all {
		if a.ID == o.ID {
			present = append(present, a)
		}
	}
	return present
}

// attach attaches the namespace to all networks, or to none.
func (o order) attach(ctx context.Context, r attachment.Runtime) (attached []attachment.Attachment, err error) {
	netns := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), keeperNetns)
	if !o.HostNetwork {
		if err := o.prepare(netns); err != nil {
			return nil, err
		}
	}
	for _, p := range o.Endpoints {
		a, err := o.attachTo(ctx, r, p, netns)
		if err != nil {
			return nil, errors.Join(err, detach(r, attached))
		}
		attached = append(attached, a)
	}
	return attached, nil
}

func (o order) attachTo(ctx context.Context, r attachment.Runtime, p placement, netns string) (attachment.Attachment, error) {
	network, err := libcni.NetworkConfFromBytes(p.Conflist)
	if err != nil {
		return attachment.Attachment{}, err
	}
	p.Request.ID, p.Request.Name, p.Request.Netns, p.Request.New = o.ID, o.Name, netns, true
	ctx, cancel := context.WithTimeout(ctx, pluginLimit)
	defer cancel()
	return r.Attach(ctx, network, p.Request)
}

// detach detaches in reverse order, past errors.
func detach(r attachment.Runtime, attached []attachment.Attachment) error {
	var errs []error
	for _, a := range slices.Backward(attached) {
		ctx, cancel := context.WithTimeout(context.Background(), pluginLimit)
		errs = append(errs, r.Detach(ctx, a))
		cancel()
	}
	return errors.Join(errs...)
}

// prepare is what every container runtime does before it calls plugins: it raises lo, and sets what is asked of the namespace.
func (o order) prepare(netns string) error {
	k, err := kernel.Open(netns)
	if err != nil {
		return err
	}
	defer k.Close()
	lo, err := k.Container.Link("lo")
	if err != nil {
		return err
	}
	if err := k.Container.LinkSetUp(lo); err != nil {
		return fmt.Errorf("ip link set lo up: %w", err)
	}
	for _, a := range o.Sysctls {
		if err := k.Container.SetSysctl(a.Key, a.Value); err != nil {
			return fmt.Errorf("sysctl -w %s=%s: %w", a.Key, a.Value, err)
		}
	}
	return nil
}
