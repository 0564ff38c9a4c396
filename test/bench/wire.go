package main

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// The scanners below extract from an encoded answer the fields that the checks need. Decoding a list of 500 objects
// would cost the client more than the server, on the same cores.

// Field numbers of rpc.proto and kv.proto.
const (
	rangeHeader, rangeKvs, rangeMore, rangeCount      = 1, 2, 3, 4
	headerRevision                                    = 3
	kvKey, kvCreateRevision, kvModRevision, kvValue   = 1, 2, 3, 5
	watchID, watchCreated, watchCanceled, watchEvents = 2, 3, 4, 11
	eventType, eventKv, eventPrevKv                   = 1, 2, 3
)

// fields calls f for each field of message. Varints come as number, everything length-delimited as data.
func fields(message []byte, f func(num protowire.Number, number uint64, data []byte) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var number uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(num, typ, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := f(num, number, data); err != nil {
			return err
		}
	}
	return nil
}

// rangeAnswer is a scanned RangeResponse. firstKey aliases the answer.
type rangeAnswer struct {
	revision, count int64
	// modRevision is the mod revision of the first key.
	modRevision int64
	kvs         int
	more        bool
	firstKey    []byte
	// values is the sum of the lengths of the values.
	values int
}

func scanRange(message []byte) (rangeAnswer, error) {
	var a rangeAnswer
	err := fields(message, func(num protowire.Number, number uint64, data []byte) error {
		switch num {
		case rangeHeader:
			return fields(data, func(num protowire.Number, number uint64, _ []byte) error {
				if num == headerRevision {
					a.revision = int64(number)
				}
				return nil
			})
		case rangeKvs:
			a.kvs++
			return fields(data, func(num protowire.Number, number uint64, data []byte) error {
				switch {
				case num == kvKey && a.kvs == 1:
					a.firstKey = data
				case num == kvModRevision && a.kvs == 1:
					a.modRevision = int64(number)
				case num == kvValue:
					a.values += len(data)
				}
				return nil
			})
		case rangeMore:
			a.more = number != 0
		case rangeCount:
			a.count = int64(number)
		}
		return nil
	})
	return a, err
}

// watchAnswer is a scanned WatchResponse.
type watchAnswer struct {
	watchID           int64
	created, canceled bool
}

// watchEvent is one event of it; key and value alias the answer.
type watchEvent struct {
	deleted, hasPrev            bool
	createRevision, modRevision int64
	key, value                  []byte
}

// scanWatch calls f for each event, in order, with the watch id known.
func scanWatch(message []byte, f func(watchID int64, e watchEvent) error) (watchAnswer, error) {
	var a watchAnswer
	err := fields(message, func(num protowire.Number, number uint64, data []byte) error {
		switch num {
		case watchID:
			a.watchID = int64(number)
		case watchCreated:
			a.created = number != 0
		case watchCanceled:
			a.canceled = number != 0
		case watchEvents:
			e, err := scanEvent(data)
			if err != nil {
				return err
			}
			return f(a.watchID, e)
		}
		return nil
	})
	return a, err
}

func scanEvent(message []byte) (watchEvent, error) {
	var e watchEvent
	err := fields(message, func(num protowire.Number, number uint64, data []byte) error {
		switch num {
		case eventType:
			e.deleted = number != 0
		case eventPrevKv:
			e.hasPrev = true
		case eventKv:
			return fields(data, func(num protowire.Number, number uint64, data []byte) error {
				switch num {
				case kvKey:
					e.key = data
				case kvCreateRevision:
					e.createRevision = int64(number)
				case kvModRevision:
					e.modRevision = int64(number)
				case kvValue:
					e.value = data
				}
				return nil
			})
		}
		return nil
	})
	return e, err
}
