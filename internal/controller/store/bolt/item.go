package bolt

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	bbolt "go.etcd.io/bbolt"

	"mctl/internal/controller/store"
)

// An item is kept as its revision (8 bytes, big endian), a checksum (4) and the value. bbolt has checksums for its two
// meta pages alone; with one for each item a flipped bit is found and never believed.
const headSize = 8 + 4

func encode(key string, revision store.Revision, value []byte) []byte {
	raw := make([]byte, headSize, headSize+len(value))
	binary.BigEndian.PutUint64(raw, uint64(revision))
	raw = append(raw, value...)
	binary.BigEndian.PutUint32(raw[8:], checksum([]byte(key), raw))
	return raw
}

// decode copies, since bbolt's memory lasts only as long as its transaction.
func decode(key, raw []byte) (store.Item, error) {
	if err := sound(key, raw); err != nil {
		return store.Item{}, err
	}
	return store.Item{Key: string(key), Value: append([]byte{}, raw[headSize:]...), Revision: revisionOf(raw)}, nil
}

func sound(key, raw []byte) error {
	if len(key) == 0 || len(key) > maxKey || len(raw) < headSize || len(raw) > headSize+maxValue {
		return errors.New("an item in it is cut off")
	}
	if checksum(key, raw) != binary.BigEndian.Uint32(raw[8:]) {
		return errors.New("an item in it has another checksum than when it was written")
	}
	return nil
}

func checksum(key, raw []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once, by the library
	sum := crc32.Update(0, table, key)
	sum = crc32.Update(sum, table, raw[:8])
	return crc32.Update(sum, table, raw[headSize:])
}

func revisionOf(raw []byte) store.Revision { return store.Revision(binary.BigEndian.Uint64(raw)) }

func readRevision(tx *bbolt.Tx) store.Revision {
	raw := tx.Bucket(metaBucket).Get(revisionKey)
	if len(raw) != 8 {
		return 0
	}
	return store.Revision(binary.BigEndian.Uint64(raw))
}
