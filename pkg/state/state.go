// Package state declares kernel state as objects: what one attachment needs is a Set of them, and the same Set is built
// up, verified and taken down. It needs CAP_NET_ADMIN in the namespaces of the kernel.Kernel it is given, and knows
// nothing of CNI.
package state

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/rescue"
)

// Object is one piece of kernel state.
type Object interface {
	// String is the command that an administrator would type to make the object.
	fmt.Stringer
	// Ensure makes the object unless it is there already; created says whether this call made it.
	Ensure(*kernel.Kernel) (created bool, err error)
	// Verify compares the kernel with the declaration and never writes. A difference wraps ErrDrift.
	Verify(*kernel.Kernel) error
	// Remove takes the object away. Absence is success.
	Remove(*kernel.Kernel) error
}

// Rollback is what takes back what a call has done.
type Rollback = rescue.Rollback

// Verbs that some objects have beside those of Object. A file that declares such an object asserts it, so that a wrong
// signature does not compile.
type (
	// Anchor is an object that needs a name in the container's namespace.
	Anchor interface {
		Object
		// Free says whether that name is free. The error wraps ErrExists. It never writes.
		Free(*kernel.Kernel) error
	}
	// Adder is an object of which an earlier call may have made a part, or all of it in another way.
	Adder interface {
		Object
		// Add is Ensure. Whether it succeeds or fails, it notes what takes back exactly that which it has changed.
		Add(*kernel.Kernel, *Rollback) error
	}
	// Readier is an object that the host may be unable to have.
	Readier interface {
		Object
		// Ready says whether Ensure could succeed now, as far as the host alone can tell. It never writes. An error that
		// wraps ErrLimited says that it could, and what would not work.
		Ready(*kernel.Kernel) error
	}
	// Repairer is an object that no single container owns, so that CHECK may put it right before it compares.
	Repairer interface {
		Object
		// Repair is Ensure for what is there already, also when it serves other containers.
		Repair(*kernel.Kernel) error
	}
	// Retirer is an object that outlives each container and goes with the network's last one.
	Retirer interface {
		Object
		// Retire removes it. Absence is success.
		Retire(*kernel.Kernel) error
	}
	// Joiner is an object by which what attachments share is in use: whoever would take that back finds it.
	Joiner interface {
		Object
		// Joins does nothing: it tells such objects from others.
		Joins()
	}
	// Rule is an object that filters or translates packets.
	Rule interface {
		Object
		// Rule does nothing: it tells such objects from others.
		Rule()
	}
)

var (
	// ErrDrift says that the kernel's state is not as declared.
	ErrDrift = errors.New("drift")
	// ErrExists says that something else has the name an object needs.
	ErrExists = errors.New("exists already")
	// ErrOwned says that another attachment of the same owner has made it at this moment: what else the owner has is that one's.
	ErrOwned = fmt.Errorf("%w", ErrExists)
	// ErrConflict says that existing state of somebody else does not allow the declared one.
	ErrConflict = errors.New("in conflict with the configuration")
	// ErrUnsupported says that the running kernel lacks a feature.
	ErrUnsupported = errors.New("not supported by the running kernel")
	// ErrAbsent says that the host has not what the configuration names.
	ErrAbsent = errors.New("absent from the host")
	// ErrLimited says that something works, but not for the containers that are there.
	ErrLimited = errors.New("limited")
	// ErrFull says that something takes no more containers until one of them goes.
	ErrFull = errors.New("full")
	// ErrVanished says that something which was there a moment ago was removed by somebody else; trying again may help.
	ErrVanished = errors.New("removed concurrently")
)

// Driftf describes one difference between the kernel and the declaration.
func Driftf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDrift, fmt.Sprintf(format, args...))
}

// Set is the state of one attachment, in the order in which it is built.
type Set []Object

// Apply ensures each object in order. When one fails, what this call created is removed again, newest first. When all
// succeed, undo does the same later, for a caller that fails after Apply.
func (s Set) Apply(k *kernel.Kernel) (undo func() error, err error) {
	var made Rollback
	undo = func() error { return errors.Join(made.Run(), k.Finish()) }
	// What was seen before, by an earlier try as well, may have gone since.
	k.Refresh()
	release, err := s.share(k)
	if err != nil {
		return nil, err
	}
	defer func() { release() }()
	for _, declared := range s {
		object := own(declared)
		created, err := add(declared, k, &made)
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		if created {
			slog.Debug("created", "namespace", Where(object), "object", described{object})
		}
		if _, joins := object.(Joiner); joins {
			release() // by it, what is shared is in use
		}
	}
	return undo, nil
}

// described is an object that is put into words when the log is to have them, which takes as long as some requests.
type described struct{ Object }

// LogValue is the object's command.
func (d described) LogValue() slog.Value { return slog.StringValue(d.String()) }

// share keeps others from taking back what the set's objects share with theirs, from the first look at it.
func (s Set) share(k *kernel.Kernel) (release func(), err error) {
	if !s.Shares() {
		return func() {}, nil
	}
	return k.Share()
}

// Shares says whether other attachments use some of the set.
func (s Set) Shares() bool {
	return slices.ContainsFunc(s, func(o Object) bool { _, is := o.(shared); return is })
}

// add makes an object, and an error of its panic, and notes what takes it back.
func add(declared Object, k *kernel.Kernel, made *Rollback) (created bool, err error) {
	object := own(declared)
	if adder, is := object.(Adder); is {
		before := made.Len()
		err := rescue.Call(func() error { return adder.Add(k, made) })
		return made.Len() > before, err
	}
	created, err = ensure(object, k)
	_, common := declared.(shared)
	// After a panic nobody knows how far it came; what others share stays.
	if created && err == nil || errors.Is(err, rescue.ErrPanic) && !common {
		made.Push(func() error { return object.Remove(k) })
	}
	return created, err
}

// Ensured is Ensure of an Adder.
func Ensured(a Adder, k *kernel.Kernel) (created bool, err error) {
	var made Rollback
	if created, err = add(a, k, &made); err != nil {
		return false, errors.Join(err, made.Run())
	}
	return created, nil
}

// ensure makes an error of an object's panic.
func ensure(o Object, k *kernel.Kernel) (made bool, err error) {
	defer rescue.Panic(&err)
	return o.Ensure(k)
}

// guarded makes an error of a method's panic, so that the objects after it get their turn.
func guarded(method func(*kernel.Kernel) error, k *kernel.Kernel) (err error) {
	defer rescue.Panic(&err)
	return method(k)
}

// Verify verifies every object and reports all drift at once.
func (s Set) Verify(k *kernel.Kernel) error {
	var errs []error
	for _, object := range s {
		errs = append(errs, guarded(object.Verify, k))
	}
	return errors.Join(errs...)
}

// Remove removes every object, last first, and goes on past errors.
func (s Set) Remove(k *kernel.Kernel) error {
	var errs []error
	for i := len(s) - 1; i >= 0; i-- {
		errs = append(errs, guarded(s[i].Remove, k))
	}
	return errors.Join(append(errs, k.Finish())...)
}

// WithoutRules is the set without what filters and translates packets: an ADD that may still fail leaves no trace of it.
func (s Set) WithoutRules() Set {
	return slices.DeleteFunc(slices.Clone(s), func(o Object) bool {
		_, rule := own(o).(Rule)
		return rule
	})
}

// Beyond is the objects of the set that another, which was applied before, does not declare in the same way.
func (s Set) Beyond(applied Set) Set {
	return slices.DeleteFunc(slices.Clone(s), func(o Object) bool {
		return slices.ContainsFunc(applied, func(a Object) bool { return reflect.DeepEqual(o, a) })
	})
}

// Free says whether the names that the set's anchors need in the container are free, before anything is made. The error
// wraps ErrExists.
func (s Set) Free(k *kernel.Kernel) error {
	var errs []error
	for _, object := range s {
		if anchor, ok := own(object).(Anchor); ok {
			errs = append(errs, anchor.Free(k))
		}
	}
	return errors.Join(errs...)
}

// Ready says whether the set could be applied to some container now, as far as the host alone can tell. Limits
// (ErrLimited) are reported when nothing else is in the way.
func (s Set) Ready(k *kernel.Kernel) error {
	var errs, limits []error
	for _, object := range s {
		o, ok := own(object).(Readier)
		if !ok {
			continue
		}
		if err := o.Ready(k); errors.Is(err, ErrLimited) {
			limits = append(limits, err)
		} else {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(limits...)
}

// Repair puts right what no container owns, so that CHECK finds it as it has to be. It goes on past errors.
func (s Set) Repair(k *kernel.Kernel) error {
	return s.each(func(object Object) error {
		if o, ok := object.(Repairer); ok {
			return o.Repair(k)
		}
		return nil
	})
}

// Redeclare ensures again what filters and translates the packets of an attachment that is there, and with it what all
// attachments share: others may have flushed it. It goes on past errors.
func (s Set) Redeclare(k *kernel.Kernel, withShared bool) error {
	release, err := k.Share()
	if err != nil {
		return err
	}
	defer release()
	var errs []error
	for _, declared := range s {
		_, common := declared.(shared)
		_, rule := own(declared).(Rule)
		if rule || common && withShared {
			_, err := ensure(own(declared), k)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Retire takes away what outlives each container and serves no other network, when the network has no container left. It
// goes on past errors.
func (s Set) Retire(k *kernel.Kernel) error {
	return s.each(func(object Object) error {
		if o, ok := object.(Retirer); ok {
			return o.Retire(k)
		}
		return nil
	})
}

// each calls f with every object, last first, and joins the errors.
func (s Set) each(f func(Object) error) error {
	var errs []error
	for i := len(s) - 1; i >= 0; i-- {
		errs = append(errs, guarded(func(*kernel.Kernel) error { return f(own(s[i])) }, nil))
	}
	return errors.Join(errs...)
}

// Shared declares an object that outlives the attachment which made it, because others use it too: it is ensured and
// verified, and never removed with one attachment. Only the Apply that created it removes it, when it fails.
func Shared(o Object) Object { return shared{o} }

type shared struct{ Object }

// Remove does nothing: others use the object.
func (shared) Remove(*kernel.Kernel) error { return nil }

// own gives the object whose Remove really removes.
func own(o Object) Object {
	if s, ok := o.(shared); ok {
		return s.Object
	}
	return o
}

// Attribute is embedded by state that goes with the link it belongs to.
type Attribute struct{}

// Remove does nothing: the kernel removes it with its link.
func (Attribute) Remove(*kernel.Kernel) error { return nil }
