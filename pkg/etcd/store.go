// Package etcd is etcd as fairway uses it: transactions, ranges, watches and leases, over connections that are found out about
// when they fail. Store is what package registry needs of it, so that its tests run on a store that fails on demand.
package etcd

import (
	"context"
	"errors"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

var (
	// ErrCompacted says that a revision asked for is not kept any more.
	ErrCompacted = errors.New("etcd has compacted the revision")
	// ErrFuture says that a revision asked for has not come yet: the store is not the one that had it.
	ErrFuture = errors.New("etcd has not reached the revision")
	// ErrUnavailable says that etcd cannot be reached, or does not answer in time; trying again may help.
	ErrUnavailable = agentapi.ErrUnavailable
	// ErrDisconnected ends a watch whose connection was lost: what was asked may have been restored meanwhile.
	ErrDisconnected = errors.New("the connection was lost")
	// ErrLeaseLost says that a lease has expired or was never granted by this store.
	ErrLeaseLost = errors.New("the lease was lost")
)

// Store is one etcd, whatever number of members it has. It may be used by several goroutines. Errors that time may heal are
// ErrUnavailable.
type Store interface {
	// Txn does Then when all conditions hold, or else Otherwise.
	Txn(ctx context.Context, t Txn) (Result, error)
	// Range reads. Errors: ErrCompacted, ErrFuture, ErrUnavailable.
	Range(ctx context.Context, r Range) (Page, error)
	// Watch sends what changes in a range from a revision on, until the context ends or something interrupts it: the last event
	// then has the error. The first has neither changes nor an error, and says that the watch stands.
	Watch(ctx context.Context, r Range) <-chan Event
	// Grant makes a lease of at least a second.
	Grant(ctx context.Context, ttl time.Duration) (lease int64, err error)
	// Renew prolongs a lease. Errors: ErrLeaseLost, ErrUnavailable.
	Renew(ctx context.Context, lease int64) error
	// Revoke ends a lease.
	Revoke(ctx context.Context, lease int64) error
	// Alarmed says whether a member has an alarm: it is out of space, or corrupt.
	Alarmed(ctx context.Context) (bool, error)
}

// Header is what each answer says of the store.
type Header struct {
	// Cluster is etcd's ID of the cluster. One that was restored under the same names and token has the same.
	Cluster uint64
	// Revision of the store when it answered.
	Revision int64
}

// KV is one key.
type KV struct {
	Key, Value        string
	Created, Modified int64 // revisions
}

// Range is which keys to read or watch.
type Range struct {
	// Key is the first. End is the first after the last: empty for Key alone.
	Key, End string
	// Revision to read at, 0 for now; or to watch from.
	Revision int64
	// Limit of keys, 0 for all.
	Limit int64
	// KeysOnly leaves the values out.
	KeysOnly bool
}

// Page is keys that were read, in their order.
type Page struct {
	Header
	KVs []KV
	// More says that Limit has left some out.
	More bool
}

// Event is changes of a watched range.
type Event struct {
	Header
	Changes []Change
	// Progress says that all changes up to the header's revision have been sent.
	Progress bool
	Err      error
}

// Change is a key that was put or deleted. Of one that was deleted there is the key and when.
type Change struct {
	KV
	Deleted bool
}

// Subject is what a condition looks at.
type Subject int

const (
	// Created is the revision that made the key, 0 when there is none.
	Created Subject = iota
	// Modified is the revision of the last change, 0 when there is no key.
	Modified
	// Value of a key; the condition does not hold without one.
	Value
)

// Condition compares a key, or each key of a range.
type Condition struct {
	Key, End string
	Subject  Subject
	// Below is for revisions: less than Revision instead of equal to it.
	Below    bool
	Revision int64
	Value    string
}

// Op is one operation of a transaction.
type Op struct {
	Do       Verb
	Key, End string
	Value    string
	// Lease that the key goes with; 0 for none.
	Lease    int64
	KeysOnly bool
	Limit    int64
}

// Verb is what an operation does.
type Verb int

// The operations.
const (
	Get Verb = iota
	Put
	Delete
)

// Txn is a transaction.
type Txn struct {
	If        []Condition
	Then      []Op
	Otherwise []Op
}

// Result of a transaction.
type Result struct {
	Header
	// Done says that the conditions held.
	Done bool
	// Pages are what each Get has read, and an empty one for each other operation.
	Pages []Page
}

// Absent holds while there is no such key.
func Absent(key string) Condition { return Condition{Key: key} }

// CreatedAt holds while the key is the one that a revision made.
func CreatedAt(key string, revision int64) Condition { return Condition{Key: key, Revision: revision} }

// ModifiedAt holds while the key is as a revision left it; 0 for no key.
func ModifiedAt(key string, revision int64) Condition {
	return Condition{Key: key, Subject: Modified, Revision: revision}
}

// UnchangedSince holds while no key of a range was changed after a revision. Deletions are not seen.
func UnchangedSince(prefix string, revision int64) Condition {
	return Condition{Key: prefix, End: PrefixEnd(prefix), Subject: Modified, Below: true, Revision: revision + 1}
}

// NoneIn holds while a range has no key.
func NoneIn(prefix string) Condition { return Condition{Key: prefix, End: PrefixEnd(prefix)} }

// Is holds while a key has a value.
func Is(key, value string) Condition { return Condition{Key: key, Subject: Value, Value: value} }

// Set puts a value.
func Set(key, value string) Op { return Op{Do: Put, Key: key, Value: value} }

// SetWith puts a value that goes with a lease.
func SetWith(key, value string, lease int64) Op {
	return Op{Do: Put, Key: key, Value: value, Lease: lease}
}

// Remove deletes a key.
func Remove(key string) Op { return Op{Do: Delete, Key: key} }

// RemoveAll deletes all keys with a prefix.
func RemoveAll(prefix string) Op { return Op{Do: Delete, Key: prefix, End: PrefixEnd(prefix)} }

// Read gets a key.
func Read(key string) Op { return Op{Key: key} }

// PrefixEnd is the first key after all those with a prefix.
func PrefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return "\x00"
}

// Prefix is the range of all keys with a prefix.
func Prefix(prefix string) Range { return Range{Key: prefix, End: PrefixEnd(prefix)} }
