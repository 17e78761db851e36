/* OpenCL C in front of every program of oneDNN's, in the place of Intel's sub-groups. LANES is the
 * number of work-items that make one: where it is one, what lanes exchange is the number itself;
 * where it is more, they can only read and write side by side, and an exchange ends the program.
 * Forms of theirs that a driver has and that are not made here are switched off, and nothing is
 * contracted, so that drivers give the same numbers. */
static const char sub_groups[] =
    "#pragma OPENCL FP_CONTRACT OFF\n"
    "#undef cl_intel_subgroup_local_block_io\n"
    "#undef cl_intel_subgroups_char\n"
    "#define LINEAR_ID ((get_local_id(2) * get_local_size(1) + get_local_id(1)) * get_local_size(0) + "
    "get_local_id(0))\n"
    "#define get_sub_group_local_id() ((uint)(LINEAR_ID % LANES))\n"
    "#define get_max_sub_group_size() ((uint)LANES)\n"
    "#define get_sub_group_size() ((uint)LANES)\n"
    "#define get_sub_group_id() ((uint)(LINEAR_ID / LANES))\n"
    "#if LANES == 1\n"
    "#define EXCHANGED(value) (value)\n"
    "#else\n"
    "#define EXCHANGED(value) ({ __builtin_trap(); (value); })\n"
    "#endif\n"
    "#define sub_group_broadcast(value, lane) EXCHANGED(value)\n"
    "#define intel_sub_group_shuffle(value, lane) EXCHANGED(value)\n"
    "#define sub_group_reduce_add(value) EXCHANGED(value)\n"
    "#define sub_group_reduce_max(value) EXCHANGED(value)\n"
    "#define work_group_reduce_add(value) EXCHANGED(value)\n"
    "#define work_group_reduce_max(value) EXCHANGED(value)\n"
    /* Without half precision its vectors, which common headers mention, are vectors of words. */
    "#define half2 short2\n"
    "#define as_half2 as_short2\n"
    /* A block has the first numbers of all lanes, then the second ones, and so on. */
    "#define BLOCK(kind, type, n)                                                                        \\\n"
    "    type##n __attribute__((overloadable)) lanes_read##kind##n(const __global type *at)              \\\n"
    "    {                                                                                               \\\n"
    "        union { type##n vector; type one[n]; } all;                                                 \\\n"
    "        for (int i = 0; i < n; i++) all.one[i] = at[get_sub_group_local_id() + i * LANES];          \\\n"
    "        return all.vector;                                                                          \\\n"
    "    }                                                                                               \\\n"
    "    void __attribute__((overloadable)) lanes_write##kind##n(__global type *at, type##n value)       \\\n"
    "    {                                                                                               \\\n"
    "        union { type##n vector; type one[n]; } all = {.vector = value};                             \\\n"
    "        for (int i = 0; i < n; i++) at[get_sub_group_local_id() + i * LANES] = all.one[i];          \\\n"
    "    }\n"
    "#define BLOCKS(kind, type)                                                                          \\\n"
    "    type __attribute__((overloadable)) lanes_read##kind(const __global type *at)                    \\\n"
    "    { return at[get_sub_group_local_id()]; }                                                        \\\n"
    "    void __attribute__((overloadable)) lanes_write##kind(__global type *at, type value)             \\\n"
    "    { at[get_sub_group_local_id()] = value; }                                                       \\\n"
    "    BLOCK(kind, type, 2) BLOCK(kind, type, 4) BLOCK(kind, type, 8) BLOCK(kind, type, 16)\n"
    "BLOCKS(, uint)\n"
    "BLOCKS(_us, ushort)\n"
    "BLOCKS(_uc, uchar)\n"
#define NAMES(kind, n)                                                    \
    "#define intel_sub_group_block_read" kind n " lanes_read" kind n "\n" \
    "#define intel_sub_group_block_write" kind n " lanes_write" kind n "\n"
#define ALL_NAMES(kind) NAMES(kind, "") NAMES(kind, "2") NAMES(kind, "4") NAMES(kind, "8") NAMES(kind, "16")
    ALL_NAMES("") ALL_NAMES("_us") ALL_NAMES("_uc")
    /* Headers of oneDNN's paste a count of one behind a name that is replaced already. */
    "#define lanes_read1 lanes_read\n"
    "#define lanes_read_us1 lanes_read_us\n"
    "#define lanes_read_uc1 lanes_read_uc\n";
