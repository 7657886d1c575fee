//! What holds of every list that is read page by page.

use mnemic_store::page::{Order, Page};

/// Checks that a list is read completely, each row once, in both orders, forwards and backwards, with
/// pages of several lengths. `oldest_first` is the whole list.
pub async fn reads_completely(list: impl AsyncFn(Page) -> Vec<String>, oldest_first: &[String]) {
    assert!(
        oldest_first.len() > 3,
        "fewer rows do not fill several pages"
    );
    for order in [Order::Asc, Order::Desc] {
        let mut whole = oldest_first.to_vec();
        if order == Order::Desc {
            whole.reverse();
        }
        for limit in [1, 3, i64::try_from(whole.len()).unwrap()] {
            forwards(&list, &whole, Page::first(limit, order)).await;
            backwards(&list, &whole, Page::first(limit, order)).await;
        }
        between(&list, &whole, order).await;
    }
}

async fn forwards(list: &impl AsyncFn(Page) -> Vec<String>, whole: &[String], mut page: Page) {
    let mut read = Vec::new();
    loop {
        let part = list(page.clone()).await;
        let Some(last) = part.last() else { break };
        assert!(i64::try_from(part.len()).unwrap() <= page.limit);
        page.after = Some(last.clone());
        read.extend(part);
        assert!(read.len() <= whole.len(), "rows come twice: {page:?}");
    }
    assert_eq!(read, whole, "{page:?}");
}

async fn backwards(list: &impl AsyncFn(Page) -> Vec<String>, whole: &[String], mut page: Page) {
    let Some((last, before)) = whole.split_last() else {
        return;
    };
    page.before = Some(last.clone());
    let mut read = Vec::new();
    loop {
        let part = list(page.clone()).await;
        let Some(first) = part.first() else { break };
        page.before = Some(first.clone());
        read.splice(0..0, part);
        assert!(read.len() < whole.len(), "rows come twice: {page:?}");
    }
    assert_eq!(read, before, "{page:?}");
}

async fn between(list: &impl AsyncFn(Page) -> Vec<String>, whole: &[String], order: Order) {
    let page = Page {
        after: whole.first().cloned(),
        before: whole.last().cloned(),
        ..Page::first(100, order)
    };
    assert_eq!(list(page.clone()).await, whole[1..whole.len() - 1]);
    let page = Page { limit: 1, ..page };
    assert_eq!(list(page).await, whole[1..2]);
}
