//! Tools and the agents that have them.

use mnemic_core::{
    builtin,
    ids::ToolId,
    time::Timestamp,
    tools::{Tool, ToolType},
};
use mnemic_store::{
    StoreError, agents,
    page::{Order, Page},
    params,
    tools::{self, ToolFilter},
};

use serde_json::json;

use crate::{
    build::{agent, stored_agent},
    house::{House, on_each_engine},
    read,
    thread::stranger,
    write,
};

async fn ensure(house: &House) -> usize {
    write!(house, |tx, scope| tools::ensure_builtins(
        tx,
        scope,
        Timestamp(1)
    )
    .await)
    .unwrap()
}

async fn id_of(house: &House, name: &str) -> ToolId {
    let names = [name.to_owned()];
    read!(house, |tx, scope| tools::by_names(tx, scope, &names).await).unwrap()[0].id
}

#[tokio::test]
async fn built_in_tools_are_made_once_and_keep_their_ids() {
    on_each_engine(async |house| {
        assert_eq!(ensure(house).await, builtin::all().len());
        let id = id_of(house, "memory_insert").await;
        assert_eq!(ensure(house).await, 0);
        let tool = read!(house, |tx, scope| tools::get(tx, scope, id).await).unwrap();
        let spec = builtin::find("memory_insert").unwrap();
        assert_eq!(tool.json_schema, spec.json_schema());
        assert_eq!((tool.tool_type, tool.source_code), (spec.tool_type, None));
    })
    .await;
}

#[tokio::test]
async fn a_built_in_tool_that_changed_is_brought_up_to_date_and_its_agents_know() {
    on_each_engine(async |house| {
        ensure(house).await;
        let agent = stored_agent(house, agent("a")).await;
        let id = id_of(house, "memory_insert").await;
        write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await).unwrap();
        write!(house, |tx, scope| {
            let sql = "UPDATE tools SET json_schema = '{}' WHERE id = $1";
            tx.execute(sql, params![id]).await
        })
        .unwrap();
        assert_eq!(ensure(house).await, 1);
        assert_eq!(id_of(house, "memory_insert").await, id);
        let after = read!(house, |tx, scope| agents::get(tx, scope, agent).await).unwrap();
        assert_eq!(after.revision, 2);
    })
    .await;
}

#[tokio::test]
async fn tools_of_an_agent_stand_in_the_order_of_attachment() {
    on_each_engine(async |house| {
        ensure(house).await;
        let agent = stored_agent(house, agent("a")).await;
        let wanted = ["send_message", "conversation_search"];
        for name in wanted {
            let id = id_of(house, name).await;
            let added = write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await);
            assert!(added.unwrap());
            let again = write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await);
            assert!(!again.unwrap(), "it was attached already");
        }
        let names = |tools: Vec<mnemic_core::tools::Tool>| -> Vec<String> {
            tools.into_iter().map(|tool| tool.name).collect()
        };
        let found = read!(house, |tx, scope| tools::of_agent(tx, scope, agent).await).unwrap();
        assert_eq!(names(found), wanted);
        let id = id_of(house, "send_message").await;
        assert!(write!(house, |tx, scope| tools::detach(tx, agent, id).await).unwrap());
        assert!(!write!(house, |tx, scope| tools::detach(tx, agent, id).await).unwrap());
        let found = read!(house, |tx, scope| tools::of_agent(tx, scope, agent).await).unwrap();
        assert_eq!(names(found), ["conversation_search"]);
        let unknown = write!(house, |tx, scope| {
            tools::attach(tx, scope, agent, ToolId::new()).await
        });
        assert!(matches!(
            unknown,
            Err(StoreError::NotFound { noun: "Tool", .. })
        ));
    })
    .await;
}

fn with(change: impl FnOnce(&mut ToolFilter)) -> ToolFilter {
    let mut filter = ToolFilter::default();
    change(&mut filter);
    filter
}

async fn found(house: &House, filter: ToolFilter) -> usize {
    let counted = filter.clone();
    let page = Page::first(100, Order::Desc);
    let listed = read!(house, |tx, scope| tools::list(tx, scope, &filter, &page)
        .await)
    .unwrap();
    let count = read!(house, |tx, scope| tools::count(tx, scope, &counted).await).unwrap();
    assert_eq!(count, i64::try_from(listed.len()).unwrap());
    listed.len()
}

#[tokio::test]
async fn filters_find_tools() {
    on_each_engine(async |house| {
        ensure(house).await;
        let agent = stored_agent(house, agent("a")).await;
        let id = id_of(house, "send_message").await;
        write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await).unwrap();
        let all = builtin::all();
        let core = |tool: &&builtin::BuiltinTool| tool.tool_type == ToolType::LettaCore;
        let (all, core) = (all.len(), all.iter().filter(core).count());
        let sending = builtin::all();
        let sending = sending
            .iter()
            .filter(|tool| tool.name.contains("send_mess"));
        let sending = sending.count();
        let names = vec!["send_message".to_owned(), "nope".to_owned()];
        let table = [
            (with(|_| ()), all),
            (with(|f| f.names = names), 1),
            (with(|f| f.ids = vec![id]), 1),
            (with(|f| f.search = Some("SEND_MESS".to_owned())), sending),
            (with(|f| f.types = vec![ToolType::LettaCore]), core),
            (
                with(|f| f.without_types = vec![ToolType::LettaCore]),
                all - core,
            ),
            (with(|f| f.types = vec![ToolType::Custom]), 0),
            (with(|f| f.agent_id = Some(agent)), 1),
        ];
        for (filter, wanted) in table {
            let asked = format!("{} {filter:?}", house.engine);
            assert_eq!(found(house, filter).await, wanted, "{asked}");
        }
    })
    .await;
}

/// A tool that somebody wrote.
fn written(name: &str) -> Tool {
    Tool {
        id: ToolId::new(),
        name: name.to_owned(),
        tool_type: ToolType::Custom,
        description: Some("does".to_owned()),
        source_type: "python".to_owned(),
        source_code: Some("def f(): pass\u{0}".to_owned()),
        json_schema: json!({"name": name}),
        tags: vec!["a".to_owned()],
        return_char_limit: 7,
        enable_parallel_execution: true,
        default_requires_approval: None,
        extra: json!({"pip_requirements": [{"name": "x"}]}),
        created_by: None,
        updated_by: None,
        created_at: Timestamp(5),
        updated_at: Timestamp(5),
    }
}

async fn add(house: &House, tool: &Tool) -> bool {
    let tool = tool.clone();
    write!(house, |tx, scope| tools::insert(tx, scope, &tool).await).unwrap()
}

#[tokio::test]
async fn a_tool_that_somebody_wrote_is_stored_once_under_its_name() {
    on_each_engine(async |house| {
        let first = written("f");
        assert!(add(house, &first).await);
        assert!(!add(house, &written("f")).await, "the name is taken");
        let id = first.id;
        let mut stored = read!(house, |tx, scope| tools::get(tx, scope, id).await).unwrap();
        assert_eq!(stored.created_by.take(), stored.updated_by.take());
        assert_eq!(stored, first);
        let found = write!(house, |tx, scope| {
            tools::by_name_for_update(tx, scope, "f").await
        });
        assert_eq!(found.unwrap().map(|tool| tool.id), Some(id));
    })
    .await;
}

#[tokio::test]
async fn a_changed_tool_is_seen_by_the_agents_that_have_it_and_by_no_others() {
    on_each_engine(async |house| {
        let mut tool = written("f");
        add(house, &tool).await;
        let (with, without) = (
            stored_agent(house, agent("a")).await,
            stored_agent(house, agent("b")).await,
        );
        let id = tool.id;
        write!(house, |tx, scope| tools::attach(tx, scope, with, id).await).unwrap();
        tool.name = "g".to_owned();
        tool.default_requires_approval = Some(true);
        tool.updated_at = Timestamp(6);
        let changed = tool.clone();
        write!(house, |tx, scope| tools::update(tx, scope, &changed).await).unwrap();
        let mut stored = read!(house, |tx, scope| tools::get(tx, scope, id).await).unwrap();
        (stored.created_by, stored.updated_by) = (None, None);
        assert_eq!(stored, tool);
        for (agent, revision) in [(with, 2), (without, 1)] {
            let after = read!(house, |tx, scope| agents::get(tx, scope, agent).await).unwrap();
            assert_eq!(after.revision, revision);
        }
        write!(house, |tx, scope| tools::delete(tx, scope, id).await).unwrap();
        let after = read!(house, |tx, scope| agents::get(tx, scope, with).await).unwrap();
        assert_eq!(after.revision, 3);
        let left = read!(house, |tx, scope| tools::of_agent(tx, scope, with).await).unwrap();
        assert!(left.is_empty());
        let again = write!(house, |tx, scope| tools::delete(tx, scope, id).await);
        assert!(matches!(again, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_name_is_not_taken_from_another_tool() {
    on_each_engine(async |house| {
        let (first, mut second) = (written("f"), written("g"));
        add(house, &first).await;
        add(house, &second).await;
        second.name = "f".to_owned();
        let taken = write!(house, |tx, scope| tools::update(tx, scope, &second).await);
        assert!(matches!(taken, Err(StoreError::Conflict(_))));
    })
    .await;
}

#[tokio::test]
async fn tools_of_another_organization_do_not_exist() {
    on_each_engine(async |house| {
        let tool = written("f");
        add(house, &tool).await;
        let id = tool.id;
        let results = write!(house, |tx, scope| {
            let other = stranger();
            assert_ne!(other.organization, scope.organization);
            Ok::<_, StoreError>((
                tools::get(tx, &other, id).await,
                tools::update(tx, &other, &tool).await,
                tools::delete(tx, &other, id).await,
            ))
        });
        let (got, updated, deleted) = results.unwrap();
        assert!(matches!(got, Err(StoreError::NotFound { .. })));
        assert!(matches!(updated, Err(StoreError::NotFound { .. })));
        assert!(matches!(deleted, Err(StoreError::NotFound { .. })));
        assert!(read!(house, |tx, scope| tools::get(tx, scope, id).await).is_ok());
    })
    .await;
}
