// Package memkv has the pairs of confd's memory store, whose names show in messages.
package memkv

// KVPair is a key with its value.
type KVPair struct {
	Key   string
	Value string
}

// KVPairs are what a pattern finds.
type KVPairs []KVPair
