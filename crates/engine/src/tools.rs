//! Being written now, per the CRUD brief, since 10:13 (uncommitted draft; store's agents/blocks/tools are taken over as committed in 9971615).
