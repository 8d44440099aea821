package protocol

import "slices"

// packed is a state in a few bytes, by which states are told apart.
type packed [maxKeys + workers*maxKeys]uint32

func (s *state) pack() packed {
	var p packed
	for k, e := range s.keys {
		p[k] = bits(uint32(e.claim), 3, uint32(e.phase), 2, bit(e.called), 1, uint32(e.owner+1), 2, uint32(e.outcome), 2, bit(e.news), 1, bit(e.acked), 1,
			uint32(e.effects), 2, uint32(e.flying), 2, bit(e.late), 1, bit(e.forgot), 1, uint32(e.delayed), 3, bit(e.reverted), 1)
		for w := range s.slots {
			sl := s.slots[w][k]
			p[maxKeys+w*maxKeys+k] = bits(uint32(sl.place), 4, uint32(sl.call), 3, uint32(sl.outcome), 2, bit(sl.before), 1, bit(sl.looked), 1, bit(sl.confirm), 1, bit(sl.acked), 1)
		}
	}
	return p
}

// bits joins values, each followed by how many bits it has.
func bits(values ...uint32) uint32 {
	var all uint32
	for i := 0; i < len(values); i += 2 {
		all = all<<values[i+1] | values[i]
	}
	return all
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// canonical gives the one that stands for all states that differ only in which
// worker is called 0, or which key.
func (s *state) canonical(n int) (state, packed) {
	best, least := *s, s.pack()
	for i := range 2 * n {
		other := *s
		if i%2 == 1 {
			other.swapWorkers()
		}
		if i >= 2 {
			other.swapKeys()
		}
		if p := other.pack(); slices.Compare(p[:], least[:]) < 0 {
			best, least = other, p
		}
	}
	return best, least
}

func (s *state) swapWorkers() {
	s.slots[0], s.slots[1] = s.slots[1], s.slots[0]
	for k := range s.keys {
		if e := &s.keys[k]; e.owner != nobody {
			e.owner = 1 - e.owner
		}
	}
}

func (s *state) swapKeys() {
	s.keys[0], s.keys[1] = s.keys[1], s.keys[0]
	for w := range s.slots {
		s.slots[w][0], s.slots[w][1] = s.slots[w][1], s.slots[w][0]
	}
}
